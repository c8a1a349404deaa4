select
    {{ local_day('known_at') }} as feature_day,
    known_at as feature_at,
    origin,
    temperature_f,
    dew_point_f,
    humidity_percent,
    wind_direction_degrees,
    wind_speed_mph,
    wind_gust_mph,
    precipitation_inches,
    pressure_millibars,
    visibility_miles
from {{ ref('stg_weather') }}
where {{ in_look_back('observation_date') }}
    and {{ in_window(local_day('known_at')) }}
