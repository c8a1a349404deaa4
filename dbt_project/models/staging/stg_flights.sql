with flights as (
    select
        make_date(cast(year as integer), cast(month as integer), cast(day as integer)) as flight_date,
        {{ add_minutes('cast(time_hour as timestamp)', 'minute') }} as scheduled_departure_at,
        *
    from {{ source('raw', 'flights') }}
),

located as (
    select
        flights.*,
        coalesce(airports.tzone, {{ unlisted_airport_time_zone('flights.dest') }}) as destination_time_zone
    from flights
    left join {{ source('raw', 'airports') }} as airports on flights.dest = airports.faa
    where {{ in_window('flights.flight_date') }}
),

scheduled as (
    select
        *,
        {{ instant_of_clock('sched_arr_time', 'scheduled_departure_at', 'destination_time_zone') }}
            as scheduled_arrival_at
    from located
)

select
    flight_date,
    scheduled_departure_at,
    cast(origin as varchar) as origin,
    cast(carrier as varchar) as carrier,
    cast(flight as integer) as flight_number,
    cast(tailnum as varchar) as tail_number,
    cast(dest as varchar) as dest,
    cast(distance as integer) as distance_miles,
    cast(destination_time_zone as varchar) as destination_time_zone,
    scheduled_arrival_at,
    {{ add_minutes('scheduled_departure_at', 'dep_delay') }} as departed_at,
    -- By the delay and not by the clock: a flight that landed at 1:14 on the night when clocks went
    -- back has two instants by the clock. A diverted flight has a clock reading at times, of another
    -- airport; it has no delay, and so it has not arrived.
    {{ add_minutes('scheduled_arrival_at', 'arr_delay') }} as arrived_at,
    cast(mod({{ minute_of_day('arr_time') }}, 1440) as integer) as arrival_clock_minute,
    cast(dep_delay as integer) as departure_delay_minutes,
    cast(arr_delay as integer) as arrival_delay_minutes,
    cast(air_time as integer) as air_minutes,
    dep_time is null as is_cancelled
from scheduled
