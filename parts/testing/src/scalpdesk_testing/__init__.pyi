from scalpdesk_testing.kit.broker import Market as Market, connect as connect
from scalpdesk_testing.kit.clock import ManualClock as ManualClock
from scalpdesk_testing.kit.desk import (HandDesk as HandDesk, Scripted as Scripted, cancels as cancels,
    combos as combos, decisions as decisions, marks as marks, orders as orders, run_tape as run_tape)
from scalpdesk_testing.kit.instruments import option as option, share as share, straddle_book as straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder as TapeBuilder, at as at
from scalpdesk_testing.pytest import serve_exchange as serve_exchange
from scalpdesk_testing.trial import Trial as Trial
from scalpdesk_testing.venue_conformance import ask as ask, questions_for as questions_for
