from scalpdesk.accounting.statements import (Movement as Movement, Statement as Statement,
    StatementSpec as StatementSpec, StatementTrade as StatementTrade, json_rows as json_rows)
from scalpdesk.alerts.channels import Channel as Channel, ChannelSpec as ChannelSpec
from scalpdesk.alerts.rules import (Alert as Alert, ConditionSpec as ConditionSpec, DeskWatch as DeskWatch,
    Level as Level, When as When)
from scalpdesk.cli.command import (desk_command as desk_command, settings_from as settings_from,
    settings_options as settings_options)
from scalpdesk.cli.market import (data_option as data_option, load_tape as load_tape, read_span as read_span,
    seed_option as seed_option, span_options as span_options)
from scalpdesk.cli.output import print_json as print_json, print_table as print_table, table_of as table_of
from scalpdesk.data_sources.contract import (FLUSH_SECONDS as FLUSH_SECONDS,
    DownloadRequest as DownloadRequest, DownloaderSpec as DownloaderSpec, ImportRequest as ImportRequest,
    ImporterSpec as ImporterSpec, RecordRequest as RecordRequest, RecorderSpec as RecorderSpec)
from scalpdesk.datasets.coin_data import Downloaded as Downloaded
from scalpdesk.datasets.importers.base import ImportReport as ImportReport
from scalpdesk.datasets.importers.lean import set_name as set_name
from scalpdesk.datasets.importers.tabular import (ImportChoices as ImportChoices,
    import_download as import_download, import_table as import_table)
from scalpdesk.datasets.importers.vendor_formats import FileFormat as FileFormat
from scalpdesk.datasets.manifests import manifest_to_extend as manifest_to_extend
from scalpdesk.entry.shapes import C as C, P as P, At as At, Shape as Shape, ShapeLeg as ShapeLeg
from scalpdesk.hedging.base import (BandVerdict as BandVerdict, HedgeBand as HedgeBand,
    HedgeInputs as HedgeInputs, check_inputs as check_inputs, verdict_of_width as verdict_of_width)
from scalpdesk.journal.reader import JournalReader as JournalReader, find_run_dir as find_run_dir
from scalpdesk.monitor.cards import CardRow as CardRow, CardSpec as CardSpec
from scalpdesk.monitor.follower import RunFollower as RunFollower
from scalpdesk.monitor.texts import clock as clock, per_cent as per_cent, plain as plain, signed as signed
from scalpdesk.pricing.base import ModelChoice as ModelChoice, PricingModel as PricingModel
from scalpdesk.signals.base import (MarketFacts as MarketFacts, Reading as Reading, Scoring as Scoring,
    Signal as Signal, SignalBar as SignalBar, StrikeInterest as StrikeInterest, absent as absent,
    scored as scored)
from scalpdesk.simulation.fills.base import (FillModel as FillModel, Match as Match, Resting as Resting,
    takes_liquidity as takes_liquidity)
from scalpdesk.volatility.base import ForecastModel as ForecastModel, VarianceFit as VarianceFit
from scalpdesk.volatility.ohlc import Ohlc as Ohlc
