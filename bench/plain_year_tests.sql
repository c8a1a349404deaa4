-- How many rows break each rule of the warehouse's tests: one row a rule. Those of the views of what
-- happened lately are the same for all, and stand in `plain_year.py`.

create macro misdated(day) as
    not coalesce(day between getvariable('first_day') and getvariable('last_day'), false);

create table broken_rules as
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
