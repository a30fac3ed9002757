from scalpdesk.exchange.answers import (AHEAD_SECONDS as AHEAD_SECONDS, AnswerFaults as AnswerFaults,
    Question as Question, is_false as is_false, priced as priced, spoilt as spoilt, too_large as too_large)
from scalpdesk.exchange.documents import own_id as own_id
from scalpdesk.exchange.keyring import Keyring as Keyring
from scalpdesk.exchange.market import (ClosedBar as ClosedBar, MarketTerms as MarketTerms,
    Published as Published, SimulatedMarket as SimulatedMarket, StatusChange as StatusChange)
from scalpdesk.exchange.outbox import Frame as Frame, Outbox as Outbox
from scalpdesk.exchange.protocol import (AdminCommand as AdminCommand, ExchangeHost as ExchangeHost,
    ExchangeProtocol as ExchangeProtocol, ProtocolSpec as ProtocolSpec)
from scalpdesk.exchange.source import Bar as Bar, between as between, combine as combine
from scalpdesk.simulation.accounts import BrokerAccount as BrokerAccount
from scalpdesk.simulation.faults import Fault as Fault
from scalpdesk.simulation.order_entry import VenueRules as VenueRules
from scalpdesk.simulation.orders import (Activity as Activity, BrokerKind as BrokerKind,
    BrokerOrder as BrokerOrder, Changes as Changes, Execution as Execution, LegRequest as LegRequest,
    OrderClass as OrderClass, OrderRequest as OrderRequest, OrderUpdate as OrderUpdate, Status as Status)
