with weather as (
    select
        make_date(cast(year as integer), cast(month as integer), cast(day as integer)) as observation_date,
        cast(time_hour as timestamp) as observed_at,
        *
    from {{ source('raw', 'weather') }}
)

select
    observation_date,
    observed_at,
    cast(origin as varchar) as origin,
    -- The row of hour H holds readings up to H:51 and the hour's highest precipitation.
    {{ add_minutes('observed_at', 60) }} as known_at,
    cast(temp as double) as temperature_f,
    cast(dewp as double) as dew_point_f,
    cast(humid as double) as humidity_percent,
    cast(wind_dir as integer) as wind_direction_degrees,
    cast(wind_speed as double) as wind_speed_mph,
    cast(wind_gust as double) as wind_gust_mph,
    cast(precip as double) as precipitation_inches,
    cast(pressure as double) as pressure_millibars,
    cast(visib as double) as visibility_miles
from weather
where {{ in_window('observation_date') }}
