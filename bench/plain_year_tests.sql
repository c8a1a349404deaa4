-- How many rows break each rule of the warehouse's tests: one row a rule.

create macro misdated(day) as
    not coalesce(day between getvariable('first_day') and getvariable('last_day'), false);

select 'stg_flights has one row a flight' as rule, count(*) as broken
from (
    select 1
    from staging.stg_flights
    group by scheduled_departure_at, origin, carrier, flight_number
    having count(*) > 1 or scheduled_departure_at is null or origin is null
        or carrier is null or flight_number is null
)
union all
select 'stg_flights lies in the window', count(*) from staging.stg_flights
where misdated(flight_date)
union all
select 'stg_flights lies on the local day of departure', count(*) from staging.stg_flights
where flight_date != local_day(scheduled_departure_at)
union all
select 'a destination has a time zone', count(*) from staging.stg_flights
where destination_time_zone is null
union all
select 'the clock at arrival agrees with the delay', count(*)
from (
    select arrival_clock_minute, timezone(destination_time_zone, timezone('UTC', arrived_at)) as clock
    from staging.stg_flights
)
where (arrival_clock_minute - date_part('hour', clock) * 60 - date_part('minute', clock) + 1500)
    % 1440 not in (0, 60, 120)
union all
select 'the time under way covers the time in the air', count(*) from staging.stg_flights
where date_sub('minute', departed_at, arrived_at) - air_minutes not between 0 and 600
union all
select 'cancelled flights have no outcome', count(*) from staging.stg_flights
where is_cancelled and (departed_at is not null or arrived_at is not null)
union all
select 'stg_weather has one row an hour and airport', count(*)
from (
    select 1
    from staging.stg_weather
    group by observed_at, origin
    having count(*) > 1 or observed_at is null or origin is null
)
union all
select 'stg_weather lies in the window', count(*) from staging.stg_weather
where misdated(observation_date)
union all
select 'stg_weather lies on the local day of its hour', count(*) from staging.stg_weather
where observation_date != local_day(observed_at)
union all
select 'readings are possible', count(*) from staging.stg_weather
where not (
    temperature_f between -60 and 130 and dew_point_f between -80 and 100
    and humidity_percent between 0 and 100 and precipitation_inches >= 0
    and pressure_millibars between 850 and 1100 and visibility_miles >= 0
)
union all
select 'fct_flights has one row a flight', count(*)
from (
    select 1
    from marts.fct_flights
    group by scheduled_departure_at, origin, carrier, flight_number
    having count(*) > 1 or scheduled_departure_at is null or origin is null
        or carrier is null or flight_number is null
)
union all
select 'fct_flights lies in the window', count(*) from marts.fct_flights
where misdated(flight_date)
union all
select 'a carrier has a name', count(*) from marts.fct_flights where carrier_name is null
union all
select 'flights arrive after they depart', count(*) from marts.fct_flights
where arrived_at < departed_at
union all
select 'outcomes are known once they exist', count(*) from marts.fct_flights
where (outcome_known_at is not null) != (is_cancelled or is_late is not null)
union all
select 'schedules are possible', count(*) from marts.fct_flights
where not (scheduled_elapsed_minutes between 20 and 1200 and distance_miles > 0)
union all
select 'carrier_history has one row a moment and entity', count(*)
from (
    select 1
    from features.carrier_history
    group by feature_at, origin, carrier
    having count(*) > 1 or feature_at is null or origin is null or carrier is null
)
union all
select 'carrier_history lies in the window', count(*) from features.carrier_history
where misdated(feature_day)
union all
select 'carrier_history has possible figures', count(*) from features.carrier_history
where not (carrier_flights_6h >= 0 and carrier_flights_28d >= 0 and coalesce(carrier_late_rate_6h, 0) between 0 and 1 and coalesce(carrier_late_rate_28d, 0) between 0 and 1)
union all
select 'route_history has one row a moment and entity', count(*)
from (
    select 1
    from features.route_history
    group by feature_at, origin, dest
    having count(*) > 1 or feature_at is null or origin is null or dest is null
)
union all
select 'route_history lies in the window', count(*) from features.route_history
where misdated(feature_day)
union all
select 'route_history has possible figures', count(*) from features.route_history
where not (route_flights_7d >= 0 and coalesce(route_late_rate_7d, 0) between 0 and 1)
union all
select 'origin_history has one row a moment and entity', count(*)
from (
    select 1
    from features.origin_history
    group by feature_at, origin
    having count(*) > 1 or feature_at is null or origin is null
)
union all
select 'origin_history lies in the window', count(*) from features.origin_history
where misdated(feature_day)
union all
select 'origin_history has possible figures', count(*) from features.origin_history
where not (origin_flights_1d >= 0 and coalesce(origin_late_rate_1d, 0) between 0 and 1)
union all
select 'destination_history has one row a moment and entity', count(*)
from (
    select 1
    from features.destination_history
    group by feature_at, dest
    having count(*) > 1 or feature_at is null or dest is null
)
union all
select 'destination_history lies in the window', count(*) from features.destination_history
where misdated(feature_day)
union all
select 'destination_history has possible figures', count(*) from features.destination_history
where not (destination_flights_7d >= 0 and coalesce(destination_late_rate_7d, 0) between 0 and 1)
union all
select 'flight_number_history has one row a moment and entity', count(*)
from (
    select 1
    from features.flight_number_history
    group by feature_at, carrier, flight_number
    having count(*) > 1 or feature_at is null or carrier is null or flight_number is null
)
union all
select 'flight_number_history lies in the window', count(*) from features.flight_number_history
where misdated(feature_day)
union all
select 'flight_number_history has possible figures', count(*) from features.flight_number_history
where not (flight_number_flights_28d >= 0 and coalesce(flight_number_late_rate_28d, 0) between 0 and 1)
union all
select 'aircraft_history has one row a moment and entity', count(*)
from (
    select 1
    from features.aircraft_history
    group by feature_at, tail_number
    having count(*) > 1 or feature_at is null or tail_number is null
)
union all
select 'aircraft_history lies in the window', count(*) from features.aircraft_history
where misdated(feature_day)
union all
select 'aircraft_history has possible figures', count(*) from features.aircraft_history
where not (aircraft_flights_28d >= 0 and coalesce(aircraft_late_rate_28d, 0) between 0 and 1)
union all
select 'origin_congestion has one row a moment and entity', count(*)
from (
    select 1
    from features.origin_congestion
    group by feature_at, origin
    having count(*) > 1 or feature_at is null or origin is null
)
union all
select 'origin_congestion lies in the window', count(*) from features.origin_congestion
where misdated(feature_day)
union all
select 'origin_congestion has possible figures', count(*) from features.origin_congestion
where not (origin_overdue_flights >= 0 and coalesce(origin_late_departure_rate_3h, 0) between 0 and 1)
union all
select 'carrier_congestion has one row a moment and entity', count(*)
from (
    select 1
    from features.carrier_congestion
    group by feature_at, origin, carrier
    having count(*) > 1 or feature_at is null or origin is null or carrier is null
)
union all
select 'carrier_congestion lies in the window', count(*) from features.carrier_congestion
where misdated(feature_day)
union all
select 'carrier_congestion has possible figures', count(*) from features.carrier_congestion
where not (carrier_overdue_flights >= 0 and coalesce(carrier_late_departure_rate_3h, 0) between 0 and 1)
union all
select 'weather_now has one row an hour and airport', count(*)
from (
    select 1
    from features.weather_now
    group by feature_at, origin
    having count(*) > 1 or feature_at is null or origin is null
)
union all
select 'weather_now lies in the window', count(*) from features.weather_now
where misdated(feature_day)
union all
select 'calendar has one row a day and flight date', count(*)
from (
    select 1
    from features.calendar
    group by feature_at, flight_date
    having count(*) > 1 or feature_at is null or flight_date is null
)
union all
select 'calendar lies in the window', count(*) from features.calendar
where misdated(feature_day);
