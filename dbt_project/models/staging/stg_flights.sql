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
        coalesce(airports.tzone, {{ unlisted_airport_time_zone('flights.dest') }}) as destination_time_zone,
        {{ add_minutes('flights.scheduled_departure_at', 'flights.dep_delay') }} as departed_at
    from flights
    left join {{ source('raw', 'airports') }} as airports on flights.dest = airports.faa
    where {{ in_window('flights.flight_date') }}
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
    {{ instant_of_clock('sched_arr_time', 'scheduled_departure_at', 'destination_time_zone') }}
        as scheduled_arrival_at,
    departed_at,
    -- A diverted flight has an arrival time at times, but of another airport and perhaps another
    -- zone: without a delay at its destination it has not arrived.
    case when arr_delay is not null then
        {{ instant_of_clock('arr_time', 'departed_at', 'destination_time_zone') }}
    end as arrived_at,
    cast(dep_delay as integer) as departure_delay_minutes,
    cast(arr_delay as integer) as arrival_delay_minutes,
    cast(air_time as integer) as air_minutes,
    dep_time is null as is_cancelled
from located
