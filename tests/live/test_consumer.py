import asyncio

import pytest

from scalpdesk.core.events import QuoteEvent, TimerEvent
from scalpdesk.live.consumer import ITEMS_A_TURN, Consumer, Ended, ItemQueue


def quote(ns):
    return QuoteEvent(0, ns, ns, 1.0, 1.1, 1, 1)


class Handled:
    def __init__(self, most_waiting=1_000):
        self.items, self.left = [], []
        self.answers = {}
        self.queue = ItemQueue(most_waiting)
        self.consumer = Consumer(self.queue, take=self.take, hand_over=self.left.extend, when_idle=list)

    def take(self, item):
        self.items.append(item)
        answer = self.answers.get(item, []) if isinstance(item, QuoteEvent) else []
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def start(self, until=lambda: False):
        task = asyncio.create_task(self.consumer.consume(until))
        await asyncio.sleep(0)
        return task


async def ended(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def run(body):
    return asyncio.run(body())


def test_items_are_handled_in_order_and_what_follows_leaves_before_the_next():
    async def body():
        desk = Handled()
        seen = []
        desk.consumer = Consumer(
            desk.queue,
            take=lambda i: seen.append(i) or [i],
            hand_over=lambda c: seen.append(("left", *c)),
            when_idle=list,
        )
        for ns in (1, 2):
            desk.queue.put(quote(ns))
        task = await desk.start()
        for _ in range(5):
            await asyncio.sleep(0)
        await ended(task)
        assert seen == [quote(1), ("left", quote(1)), quote(2), ("left", quote(2))]

    run(body)


def test_a_quote_that_meets_an_idle_desk_is_handled_where_it_was_read():
    async def body():
        desk = Handled()
        task = await desk.start()
        desk.answers[quote(5)] = ["order"]
        assert desk.consumer.take_at_once(quote(5))
        assert desk.items == [quote(5)]
        assert desk.left == ["order"]
        await ended(task)

    run(body)


@pytest.mark.parametrize("is_queued", [False, True])
def test_quotes_behind_one_that_causes_an_order_wait_until_it_is_written(is_queued):
    async def body():
        desk, written_after = Handled(), []
        desk.answers[quote(1)] = ["order"]

        async def write():
            await asyncio.sleep(0)  # a client that writes in the second turn
            written_after.append(len(desk.items))

        writing = []
        desk.consumer = Consumer(
            desk.queue,
            take=desk.take,
            hand_over=lambda _commands: writing.append(asyncio.create_task(write())),
            when_idle=list,
        )
        task = await desk.start()
        taken = not is_queued and desk.consumer.take_at_once(quote(1))
        for ns in range(1 + taken, 4):
            assert not taken or not desk.consumer.take_at_once(quote(ns))
            desk.queue.put(quote(ns))
        for _ in range(6):
            await asyncio.sleep(0)
        assert written_after == [1]
        assert desk.items == [quote(1), quote(2), quote(3)]
        assert desk.consumer.take_at_once(quote(4))
        await ended(task)

    run(body)


def test_a_quote_never_overtakes_what_is_in_the_queue():
    async def body():
        desk = Handled()
        task = await desk.start()
        timer = TimerEvent(1, 1, "first")
        desk.queue.put(timer)
        assert not desk.consumer.take_at_once(quote(2))
        desk.queue.put(quote(2))
        for _ in range(3):
            await asyncio.sleep(0)
        assert desk.items == [timer, quote(2)]
        await ended(task)

    run(body)


def test_no_quote_is_taken_at_once_before_the_consumer_runs_or_while_it_handles_one():
    async def body():
        desk = Handled()
        assert not desk.consumer.take_at_once(quote(1))
        task = await desk.start()
        inner = []
        handle = desk.take

        def take(item):
            inner.append(desk.consumer.take_at_once(quote(9)))
            return handle(item)

        desk.consumer.take = take
        assert desk.consumer.take_at_once(quote(2))
        assert inner == [False]
        await ended(task)

    run(body)


def test_a_flood_of_quotes_lets_others_have_a_turn():
    async def body():
        desk = Handled()
        task = await desk.start()
        for _ in range(2):  # a turn of the consumer begins a new count
            taken = [desk.consumer.take_at_once(quote(ns)) for ns in range(ITEMS_A_TURN + 1)]
            assert taken == [True] * ITEMS_A_TURN + [False]
            await asyncio.sleep(0)
        await ended(task)

    run(body)


def test_what_handling_a_quote_raised_ends_the_consumer_and_not_whoever_read_it():
    async def body():
        desk = Handled()
        task = await desk.start()
        desk.answers[quote(1)] = ValueError("the disk refuses")
        assert desk.consumer.take_at_once(quote(1))
        assert not desk.consumer.take_at_once(quote(2))
        with pytest.raises(ValueError, match="the disk refuses"):
            await task

    run(body)


def test_the_end_of_the_events_is_an_item_and_a_full_queue_stops_the_reading():
    async def body():
        desk = Handled(most_waiting=2)
        read = []

        async def events():
            for ns in range(4):
                read.append(ns)
                yield quote(ns)

        follow = asyncio.create_task(desk.queue.follow(events()))
        for _ in range(5):
            await asyncio.sleep(0)
        assert read == [0, 1]
        task = await desk.start(until=lambda: any(isinstance(item, Ended) for item in desk.items))
        await asyncio.gather(follow, task)
        assert desk.items[:4] == [quote(ns) for ns in range(4)]
        assert isinstance(desk.items[4], Ended)

    run(body)


def test_after_so_many_items_others_have_a_turn_and_commands_begin_the_count_anew():
    async def body():
        desk, turns = Handled(), []
        desk.answers[quote(ITEMS_A_TURN - 1)] = ["command"]

        async def other():
            while True:
                turns.append(len(desk.items))
                await asyncio.sleep(0)

        count = 3 * ITEMS_A_TURN
        for ns in range(count):
            desk.queue.put(quote(ns))
        beside = asyncio.create_task(other())
        await desk.consumer.consume(lambda: len(desk.items) == count)
        beside.cancel()
        # a command left with the 64th item, and the item that led to it counts as the first
        assert list(dict.fromkeys(turns))[:3] == [ITEMS_A_TURN, 2 * ITEMS_A_TURN - 1, 3 * ITEMS_A_TURN - 1]
        assert desk.left == ["command"]

    run(body)


def test_the_first_failure_is_raised_and_none_without_one():
    queue = ItemQueue(5)
    queue.raise_failure()
    first = ValueError("first")
    queue.fail(first)
    queue.fail(ValueError("second"))
    with pytest.raises(ValueError, match="first"):
        queue.raise_failure()


@pytest.mark.rows(("left", "is_read"), [(0, True), (1, True), (2, False), (3, False)])
def test_the_gateway_is_read_again_once_less_than_too_much_waits(left, is_read):
    async def body():
        queue = ItemQueue(2)

        async def events():
            yield quote(0)
            yield quote(1)
            yield quote(2)

        reading = asyncio.create_task(queue.follow(events()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(queue.items) == 2
        queue.items.clear()
        queue.items.extend(quote(ns) for ns in range(10, 10 + left))
        queue.make_room()
        for _ in range(3):
            await asyncio.sleep(0)
        assert (quote(2) in queue.items) is is_read
        reading.cancel()

    run(body)


def test_a_quote_that_leads_to_a_command_wakes_the_consumer_and_one_that_does_not_lets_it_sleep():
    async def body():
        desk, idle = Handled(), []
        desk.consumer.when_idle = lambda: idle.append(len(desk.items)) or []
        desk.answers[quote(2)] = ["command"]
        task = await desk.start()
        assert idle == [0]
        assert desk.consumer.take_at_once(quote(1))
        await asyncio.sleep(0)
        assert idle == [0]
        assert desk.consumer.take_at_once(quote(2))
        for _ in range(3):
            await asyncio.sleep(0)
        assert idle == [0, 2]
        assert desk.left == ["command"]
        await ended(task)

    run(body)


def test_what_is_due_while_nothing_waits_is_handed_over():
    async def body():
        desk, due = Handled(), [["first"], ["second"], []]
        desk.consumer.when_idle = lambda: due.pop(0)
        task = await desk.start(until=lambda: not due)
        for _ in range(2):
            for _ in range(3):
                await asyncio.sleep(0)
            desk.queue.wake()
        await asyncio.wait_for(task, 60.0)
        assert desk.left == ["first", "second"]

    run(body)


def test_what_came_in_while_commands_left_is_not_slept_over():
    async def body():
        desk, due = Handled(), [["first"]]

        def hand_over(commands):
            desk.left.extend(commands)
            desk.queue.put(quote(7))

        desk.consumer.hand_over = hand_over
        desk.consumer.when_idle = lambda: due.pop() if due else []
        task = await desk.start()
        for _ in range(5):
            await asyncio.sleep(0)
        assert (desk.left, desk.items) == (["first"], [quote(7)])
        await ended(task)

    run(body)
