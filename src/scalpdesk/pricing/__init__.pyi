from scalpdesk.pricing.implied import implied_vol as implied_vol
from scalpdesk.pricing.models import greeks as greeks
from scalpdesk.pricing.warming import warm_up as warm_up
