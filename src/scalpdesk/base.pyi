from scalpdesk.core.bounds import (BoundedSettings as BoundedSettings, above as above, at_least as at_least,
    time_of_day as time_of_day)
from scalpdesk.core.clock import Clock as Clock, SystemClock as SystemClock
from scalpdesk.core.enums import ChangeCause as ChangeCause, DecisionKind as DecisionKind, Mode as Mode
from scalpdesk.core.errors import (ArgumentError as ArgumentError, ConfigError as ConfigError,
    DataError as DataError, RetryError as RetryError, ScalpdeskError as ScalpdeskError,
    StopError as StopError, nearest_name as nearest_name)
from scalpdesk.core.events import (BarEvent as BarEvent, Event as Event, OrderFilled as OrderFilled,
    OrderRejected as OrderRejected, QuoteEvent as QuoteEvent, TradeEvent as TradeEvent,
    TradingHalt as TradingHalt)
from scalpdesk.core.flags import Flag as Flag, Options as Options
from scalpdesk.core.intents import (MultiLegOrder as MultiLegOrder, OrderIntent as OrderIntent,
    OrderType as OrderType, Purpose as Purpose, Side as Side, Stop as Stop,
    SubmitOrder as SubmitOrder, TimeInForce as TimeInForce, Trailing as Trailing)
from scalpdesk.core.refusals import Cause as Cause, Refused as Refused
from scalpdesk.core.units import (DAYS_PER_YEAR as DAYS_PER_YEAR, DAY_NS as DAY_NS,
    DAY_SECONDS as DAY_SECONDS, MINUTE_NS as MINUTE_NS, NANOS_PER_SECOND as NANOS_PER_SECOND, ZERO as ZERO,
    InstrumentId as InstrumentId, exact as exact, number_text as number_text, years_between as years_between)
from scalpdesk.instruments.broker_terms import cutoff_names as cutoff_names, venue_cutoff as venue_cutoff
from scalpdesk.instruments.classes import OptionClass as OptionClass, us_option as us_option
from scalpdesk.instruments.contract import (Equity as Equity, Instrument as Instrument,
    Instruments as Instruments, OptionContract as OptionContract, Right as Right, Settlement as Settlement,
    Style as Style, options_in_order as options_in_order, underlying_of as underlying_of)
from scalpdesk.instruments.deadlines import (EXIT_MINUTES as EXIT_MINUTES, NO_CUTOFF as NO_CUTOFF,
    VenueCutoff as VenueCutoff, contract_deadline_ns as contract_deadline_ns,
    exit_deadline_ns as exit_deadline_ns)
from scalpdesk.instruments.deribit import deribit_option as deribit_option
from scalpdesk.instruments.fees import NO_FEES as NO_FEES, FeeModel as FeeModel, trade_date as trade_date
from scalpdesk.instruments.sessions import (NEW_YORK as NEW_YORK, REGULAR_CLOSE as REGULAR_CLOSE,
    Session as Session, expiry_instant_ns as expiry_instant_ns, from_ns as from_ns, is_session as is_session,
    new_york_ns as new_york_ns, next_session as next_session, session_on as session_on,
    sessions_between as sessions_between, to_new_york as to_new_york, to_ns as to_ns)
from scalpdesk.instruments.ticks import NICKEL_DIME as NICKEL_DIME, TickRule as TickRule
from scalpdesk.marketdata.quotes import QuoteVerdict as QuoteVerdict
from scalpdesk.portfolio.positions import Position as Position
