-- The year's tables from its raw tables, by one plain script: the work that `bench.year` compares
-- the warehouse with, and an independent second opinion on its rows.
--
-- Reads the schema `raw`, the variables `first_day` and `last_day`, and nothing else.

create schema staging;
create schema marts;
create schema features;

create table staging.stg_flights as
with located as (
    select
        flights.*,
        make_date(year, month, day) as flight_date,
        cast(time_hour as timestamp) + to_minutes(minute) as departs,
        coalesce(
            airports.tzone,
            case when dest in ('BQN', 'PSE', 'SJU', 'STT') then 'America/Puerto_Rico' end
        ) as zone
    from raw.flights
    left join raw.airports on dest = faa
),

-- What the destination's clock shows at departure, and in how many minutes of it the flight is due.
clocks as (
    select
        *,
        timezone(zone, timezone('UTC', departs)) as clock_at_departure,
        (
            sched_arr_time // 100 * 60 + sched_arr_time % 100
            - date_part('hour', clock_at_departure) * 60 - date_part('minute', clock_at_departure)
            + 2880
        ) % 1440 as clock_minutes
    from located
),

-- A clock that is changed on the way shows those minutes an hour earlier or later.
scheduled as (
    select
        *,
        clock_at_departure + to_minutes(clock_minutes) as clock_at_arrival,
        departs + to_minutes(clock_minutes) as unchanged,
        unchanged + (clock_at_arrival - timezone(zone, timezone('UTC', unchanged))) as arrives
    from clocks
)

select
    flight_date,
    departs as scheduled_departure_at,
    origin,
    carrier,
    flight as flight_number,
    tailnum as tail_number,
    dest,
    distance as distance_miles,
    zone as destination_time_zone,
    arrives as scheduled_arrival_at,
    departs + to_minutes(dep_delay) as departed_at,
    arrives + to_minutes(arr_delay) as arrived_at,
    cast((arr_time // 100 * 60 + arr_time % 100) % 1440 as integer) as arrival_clock_minute,
    dep_delay as departure_delay_minutes,
    arr_delay as arrival_delay_minutes,
    air_time as air_minutes,
    dep_time is null as is_cancelled
from scheduled
order by all;

create table staging.stg_weather as
select
    make_date(year, month, day) as observation_date,
    cast(time_hour as timestamp) as observed_at,
    origin,
    observed_at + interval 1 hour as known_at,
    temp as temperature_f,
    dewp as dew_point_f,
    humid as humidity_percent,
    cast(wind_dir as integer) as wind_direction_degrees,
    wind_speed as wind_speed_mph,
    wind_gust as wind_gust_mph,
    precip as precipitation_inches,
    pressure as pressure_millibars,
    visib as visibility_miles
from raw.weather
order by all;

create table marts.fct_flights as
select
    flight_date,
    scheduled_departure_at,
    origin,
    flights.carrier,
    flight_number,
    tail_number,
    dest,
    airlines.name as carrier_name,
    distance_miles,
    cast(
        date_part('hour', timezone('America/New_York', timezone('UTC', scheduled_departure_at)))
        as integer
    ) as scheduled_departure_hour,
    cast(date_sub('minute', scheduled_departure_at, scheduled_arrival_at) as integer)
        as scheduled_elapsed_minutes,
    planes.manufacturer as plane_manufacturer,
    planes.year as plane_built_year,
    planes.seats as plane_seats,
    scheduled_arrival_at,
    departed_at,
    arrived_at,
    departure_delay_minutes,
    arrival_delay_minutes,
    is_cancelled,
    arrival_delay_minutes > 15 as is_late,
    if(is_cancelled, scheduled_departure_at, arrived_at) as outcome_known_at
from staging.stg_flights as flights
left join raw.airlines on flights.carrier = airlines.carrier
left join raw.planes on tail_number = tailnum
order by all;

create table hours as
select hour as feature_at, cast(timezone('America/New_York', timezone('UTC', hour)) as date) as day
from generate_series(
    cast(getvariable('first_day') as timestamp),
    cast(getvariable('last_day') as timestamp) + interval 2 days,
    interval 1 hour
) as series (hour)
where day between getvariable('first_day') and getvariable('last_day');

-- Running totals of what was known at each hour at which something became known. A history is the
-- difference of two of them, seven days apart.
create table outcomes as
select
    origin,
    carrier,
    dest,
    date_trunc('hour', outcome_known_at + interval 59 minutes) as hour,
    coalesce(is_late, false) as late,
    is_cancelled as cancelled,
    coalesce(arrival_delay_minutes, 0) as delay_minutes
from marts.fct_flights
where outcome_known_at <= scheduled_departure_at + interval 36 hours;

create macro history(entity_of) as table
with known as (
    select
        entity_of as entity,
        origin,
        hour,
        sum(count(*)) over running as flights,
        sum(count(*) filter (late)) over running as late,
        sum(count(*) filter (cancelled)) over running as cancelled,
        sum(sum(delay_minutes)) over running as delay_minutes
    from outcomes
    group by origin, entity, hour
    window running as (partition by origin, entity order by hour)
),

asked as (
    select origin, entity, feature_at, day
    from (select distinct origin, entity from known) cross join hours
),

compared as (
    select
        asked.*,
        now.flights - coalesce(before.flights, 0) as flights,
        now.late - coalesce(before.late, 0) as late,
        now.cancelled - coalesce(before.cancelled, 0) as cancelled,
        now.delay_minutes - coalesce(before.delay_minutes, 0) as delay_minutes
    from asked
    asof join known as now
        on asked.origin = now.origin and asked.entity = now.entity
        and asked.feature_at >= now.hour
    asof left join known as before
        on asked.origin = before.origin and asked.entity = before.entity
        and asked.feature_at - interval 7 days >= before.hour
    where now.hour > asked.feature_at - interval 8 days
)

select
    day as feature_day,
    feature_at,
    origin,
    entity,
    cast(flights as integer) as flights_7d,
    cast(late as integer) as late_7d,
    cast(cancelled as integer) as cancelled_7d,
    cast(delay_minutes as integer) as delay_minutes_7d,
    late_7d / nullif(flights_7d - cancelled_7d, 0) as late_rate_7d,
    cancelled_7d / nullif(flights_7d, 0) as cancelled_rate_7d,
    delay_minutes_7d / nullif(flights_7d - cancelled_7d, 0) as mean_delay_minutes_7d
from compared;

create table features.carrier_history as
select
    feature_day,
    feature_at,
    origin,
    entity as carrier,
    columns('_7d$') as 'carrier_\0'
from history(carrier)
order by all;

create table features.route_history as
select feature_day, feature_at, origin, entity as dest, columns('_7d$') as 'route_\0'
from history(dest)
order by all;

create table features.weather_now as
select
    cast(timezone('America/New_York', timezone('UTC', known_at)) as date) as feature_day,
    known_at as feature_at,
    * exclude (observation_date, observed_at, known_at)
from staging.stg_weather
where feature_day between getvariable('first_day') and getvariable('last_day')
order by all;

create table features.calendar as
with holidays as (
    select unnest([
        date '2013-01-01', date '2013-01-21', date '2013-02-18', date '2013-05-27',
        date '2013-07-04', date '2013-09-02', date '2013-10-14', date '2013-11-11',
        date '2013-11-28', date '2013-12-25', date '2014-01-01', date '2014-01-20'
    ]) as holiday
),

days as (
    select cast(day as date) as feature_day, feature_day + ahead as flight_date
    from generate_series(getvariable('first_day'), getvariable('last_day'), interval 1 day)
        as series (day)
    cross join (values (0), (1)) as next (ahead)
)

select
    feature_day,
    timezone('UTC', timezone('America/New_York', cast(feature_day as timestamp))) as feature_at,
    flight_date,
    cast(isodow(flight_date) as integer) as day_of_week,
    cast(week(flight_date) as integer) as week_of_year,
    cast(month(flight_date) as integer) as month_of_year,
    isodow(flight_date) in (6, 7) as is_weekend,
    cast(flight_date - max(holiday) filter (holiday <= flight_date) as integer)
        as days_since_holiday,
    cast(min(holiday) filter (holiday >= flight_date) - flight_date as integer)
        as days_until_holiday
from days
cross join holidays
group by feature_day, flight_date
order by all;
