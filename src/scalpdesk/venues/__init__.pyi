from scalpdesk.venues.bounds import (is_amount as is_amount, is_count as is_count, is_figure as is_figure,
    is_instant as is_instant)
from scalpdesk.venues.budget import (RequestBudget as RequestBudget, Urgency as Urgency, loop_ns as loop_ns,
    urgency_of as urgency_of)
from scalpdesk.venues.conformance import (VENUE_QUESTIONS as VENUE_QUESTIONS, ServedVenue as ServedVenue,
    VenueQuestion as VenueQuestion)
from scalpdesk.venues.contract import (AccountFacts as AccountFacts, DailyBar as DailyBar,
    EmergencyGateway as EmergencyGateway, Gateway as Gateway, Health as Health,
    HoldingsView as HoldingsView, KnownOrder as KnownOrder,
    ListedContract as ListedContract, LiveToken as LiveToken, NoSettings as NoSettings, Notice as Notice,
    NoticeKind as NoticeKind, Revealable as Revealable, VenueActivity as VenueActivity,
    VenueClock as VenueClock, VenueFill as VenueFill, VenueMinute as VenueMinute, VenueOrder as VenueOrder,
    VenuePosition as VenuePosition, VenueSetup as VenueSetup, VenueSpec as VenueSpec, VenueView as VenueView,
    how_to_reach as how_to_reach)
from scalpdesk.venues.event_queue import EventPublisher as EventPublisher
from scalpdesk.venues.gateway_base import GatewayBase as GatewayBase
from scalpdesk.venues.listener import (PATIENCE_SECONDS as PATIENCE_SECONDS, Listener as Listener,
    connected as connected)
from scalpdesk.venues.network import (CLOSE_TIMEOUT as CLOSE_TIMEOUT, Network as Network,
    TcpNetwork as TcpNetwork)
from scalpdesk.venues.order_path import (Answering as Answering, Found as Found, OrderPath as OrderPath,
    RequestFate as RequestFate, VenueAnswer as VenueAnswer, urgency_of_command as urgency_of_command)
from scalpdesk.venues.questions import Questions as Questions, UnansweredError as UnansweredError
from scalpdesk.venues.reconnecting import (HELLO_SECONDS as HELLO_SECONDS,
    ReconnectingConnection as ReconnectingConnection)
from scalpdesk.venues.tracker import (MAY_FILL as MAY_FILL, OrderReport as OrderReport,
    OrderTracker as OrderTracker, Outcome as Outcome, TrackedOrder as TrackedOrder)
