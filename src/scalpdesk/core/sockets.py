"""Every socket of the desk: what can be plugged in, under which entry point group, by which contract.

The product's own plug-ins stand in the same list and are found by the same loader; those of the project's
other packages (``parts/``) come by their entry points, as everybody's. Nothing is imported before it is
asked for; docs/developing/sockets.md shows the list with its pages.
"""

from scalpdesk.core.plugins import OwnModules, Socket

_VENUES = {"alpaca": "scalpdesk[alpaca]", "deribit": "scalpdesk[deribit]", "ibkr": "scalpdesk[ibkr]"}
"""What brings each venue of the project, with its served protocol and its data."""

STRATEGIES = Socket(
    "strategy",
    "strategy",
    "scalpdesk.strategies",
    "scalpdesk.strategies.contract:StrategySpec",
    "write_a_strategy.md",
    OwnModules(
        "scalpdesk.strategies",
        besides=frozenset({"contract", "registry", "several", "toolkit"}),
        joiner="-",
    ),
    adapter="scalpdesk.strategies.contract:as_spec",
    parts=dict.fromkeys(("ema-scalper", "external", "hybrid", "st0cka", "st0ckg"), "scalpdesk-strategies"),
)
SIGNALS = Socket(
    "signal",
    "signals",
    "scalpdesk.signals",
    "scalpdesk.signals.base:Signal",
    "sockets.md",
    OwnModules(
        "scalpdesk.signals",
        besides=frozenset({"base", "composite", "conviction", "ema_cloud"}),
    ),
    is_spec=False,
)
EXIT_RULES = Socket(
    "exit rule",
    "exits.rules",
    "scalpdesk.exit_rules",
    "scalpdesk.strategies.toolkit.exits:ExitRule",
    "add_a_plug_in.md",
    is_spec=False,
)
HEDGE_BANDS = Socket(
    "hedge band",
    "hedge.band",
    "scalpdesk.hedge_bands",
    "scalpdesk.hedging.base:HedgeBand",
    "add_a_plug_in.md",
    OwnModules("scalpdesk.hedging.bands"),
    is_spec=False,
)
FILL_MODELS = Socket(
    "fill model",
    "simulation.fill_model",
    "scalpdesk.fill_models",
    "scalpdesk.simulation.fills.base:FillModel",
    "add_a_plug_in.md",
    OwnModules("scalpdesk.simulation.fills", "{Name}Fill", besides=frozenset({"base"})),
    is_spec=False,
)
PRICING_MODELS = Socket(
    "pricing model",
    "model",
    "scalpdesk.pricing_models",
    "scalpdesk.pricing.base:ModelChoice",
    "sockets.md",
    {
        "bsm": "scalpdesk.pricing.models:bsm_model",
        "black76": "scalpdesk.pricing.models:black76_model",
        "inverse": "scalpdesk.pricing.models:inverse_model",
        "escrowed": "scalpdesk.pricing.models:bsm_model",
        "spot": "scalpdesk.pricing.models:spot_model",
    },
    is_spec=False,
)
FORECASTS = Socket(
    "forecast model",
    "model",
    "scalpdesk.forecasts",
    "scalpdesk.volatility.base:ForecastModel",
    "sockets.md",
    "scalpdesk.volatility.forecast:OWN_MODELS",
    is_spec=False,
)
SHAPES = Socket(
    "shape",
    "structure.shape",
    "scalpdesk.shapes",
    "scalpdesk.entry.shapes:Shape",
    "add_a_shape.md",
    "scalpdesk.entry.shapes:SHAPES",
)
CONTRACT_CLASSES = Socket(
    "contract class",
    "classes",
    "scalpdesk.classes",
    "scalpdesk.instruments.classes:OptionClass",
    "sockets.md",
)
VENUES = Socket(
    "venue",
    "--venue",
    "scalpdesk.venues",
    "scalpdesk.venues.contract:VenueSpec",
    "add_a_venue.md",
    parts=_VENUES,
)
EXCHANGE_PROTOCOLS = Socket(
    "exchange protocol",
    "exchange --protocol",
    "scalpdesk.exchanges",
    "scalpdesk.exchange.protocol:ProtocolSpec",
    "add_an_exchange_protocol.md",
    parts=dict.fromkeys(("alpaca", "deribit", "tws"), "scalpdesk[exchange]"),
)
IMPORTERS = Socket(
    "importer",
    "data import",
    "scalpdesk.importers",
    "scalpdesk.data_sources.contract:ImporterSpec",
    "add_an_importer.md",
    {
        "cboe": "scalpdesk.data_sources.vendors:CBOE_FILES",
        "chain": "scalpdesk.data_sources.tables:CHAIN",
        "csv": "scalpdesk.data_sources.tables:CSV",
        "databento": "scalpdesk.data_sources.databento:IMPORTER",
        "lean": "scalpdesk.data_sources.lean:IMPORTER",
        "parquet": "scalpdesk.data_sources.tables:PARQUET",
        "polygon": "scalpdesk.data_sources.vendors:POLYGON_FILES",
        "thetadata": "scalpdesk.data_sources.vendors:THETADATA_FILES",
    },
    parts={"deribit": _VENUES["deribit"]},
)
DOWNLOADERS = Socket(
    "downloader",
    "data download",
    "scalpdesk.downloaders",
    "scalpdesk.data_sources.contract:DownloaderSpec",
    "add_an_importer.md",
    parts={"alpaca": _VENUES["alpaca"], "deribit": _VENUES["deribit"]},
)
RECORDERS = Socket(
    "recorder",
    "data record",
    "scalpdesk.recorders",
    "scalpdesk.data_sources.contract:RecorderSpec",
    "add_an_importer.md",
    parts={"alpaca": _VENUES["alpaca"], "deribit": _VENUES["deribit"]},
)
STATEMENTS = Socket(
    "statement reader",
    "reconcile --broker",
    "scalpdesk.statements",
    "scalpdesk.accounting.statements:StatementSpec",
    "add_a_statement_reader.md",
    parts=_VENUES,
)
COMMANDS = Socket(
    "command",
    "scalpdesk",
    "scalpdesk.commands",
    "click:Command",
    "add_a_command.md",
    "scalpdesk.cli.main:OWN_COMMANDS",
)
STUDIES = Socket(
    "study",
    "research",
    "scalpdesk.studies",
    "click:Command",
    "add_a_command.md",
    "scalpdesk.cli.research:OWN_STUDIES",
)
CARDS = Socket(
    "dashboard card",
    "scalpdesk.cards",
    "scalpdesk.cards",
    "scalpdesk.monitor.cards:CardSpec",
    "add_a_card.md",
)
ALERT_CONDITIONS = Socket(
    "alert condition",
    "alerts",
    "scalpdesk.alert_conditions",
    "scalpdesk.alerts.rules:ConditionSpec",
    "add_an_alert.md",
    "scalpdesk.alerts.rules:OWN_CONDITIONS",
)
ALERT_CHANNELS = Socket(
    "alert channel",
    "credentials.alert_urls",
    "scalpdesk.alert_channels",
    "scalpdesk.alerts.channels:ChannelSpec",
    "add_an_alert.md",
    {"apprise": "scalpdesk.alerts.channels:APPRISE"},
)

SOCKETS: tuple[Socket, ...] = (
    STRATEGIES,
    SIGNALS,
    EXIT_RULES,
    HEDGE_BANDS,
    FILL_MODELS,
    PRICING_MODELS,
    FORECASTS,
    SHAPES,
    CONTRACT_CLASSES,
    VENUES,
    EXCHANGE_PROTOCOLS,
    IMPORTERS,
    DOWNLOADERS,
    RECORDERS,
    STATEMENTS,
    COMMANDS,
    STUDIES,
    CARDS,
    ALERT_CONDITIONS,
    ALERT_CHANNELS,
)
