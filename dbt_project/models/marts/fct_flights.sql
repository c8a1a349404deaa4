select
    flights.flight_date,
    flights.scheduled_departure_at,
    flights.origin,
    flights.carrier,
    flights.flight_number,
    flights.tail_number,
    flights.dest,
    cast(airlines.name as varchar) as carrier_name,
    flights.distance_miles,
    cast(
        extract(hour from {{ utc_to_local('flights.scheduled_departure_at', home_time_zone()) }})
        as integer
    ) as scheduled_departure_hour,
    cast(
        {{ minutes_between('flights.scheduled_departure_at', 'flights.scheduled_arrival_at') }}
        as integer
    ) as scheduled_elapsed_minutes,
    cast(planes.manufacturer as varchar) as plane_manufacturer,
    cast(planes.year as integer) as plane_built_year,
    cast(planes.seats as integer) as plane_seats,
    flights.scheduled_arrival_at,
    flights.departed_at,
    flights.arrived_at,
    flights.departure_delay_minutes,
    flights.arrival_delay_minutes,
    flights.is_cancelled,
    flights.arrival_delay_minutes > 15 as is_late,
    case when flights.is_cancelled then flights.scheduled_departure_at else flights.arrived_at end
        as outcome_known_at
from {{ ref('stg_flights') }} as flights
left join {{ source('raw', 'airlines') }} as airlines on flights.carrier = airlines.carrier
left join {{ source('raw', 'planes') }} as planes on flights.tail_number = planes.tailnum
where {{ in_window('flights.flight_date') }}
