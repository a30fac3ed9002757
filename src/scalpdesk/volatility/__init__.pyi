from scalpdesk.volatility.forecast import forecast_vol as forecast_vol
from scalpdesk.volatility.realised import realized_vol as realized_vol
