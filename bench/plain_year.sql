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

create macro local_day(instant) as
    cast(timezone('America/New_York', timezone('UTC', instant)) as date);
create macro midnight(day) as
    timezone('UTC', timezone('America/New_York', cast(day as timestamp)));
create macro in_year(day) as
    day between getvariable('first_day') and getvariable('last_day');

create table days as
select cast(day as date) as day
from generate_series(getvariable('first_day'), getvariable('last_day'), interval 1 day) as series (day);

create table outcomes as
select
    *,
    outcome_known_at as k,
    local_day(outcome_known_at) as known_day,
    coalesce(is_late, false) as late,
    coalesce(arrival_delay_minutes, 0) as delay
from marts.fct_flights
where outcome_known_at <= scheduled_departure_at + interval 36 hours;

-- An outcome is added to its entity when it is known and taken away when a look-back has passed; sums
-- over these changes, in order, are the histories. They are integers in doubles, which add up exactly:
-- sums of integers are in 128 bits and take twice as long.
create macro history(entity_of, hour_list, day_list) as table
with mine as (
    select entity_of as entity, * from outcomes where entity_of is not null
),

changes as (
    select entity, k as moment, hour || 'h' as look_back, cast(1 as double) as sign, late, is_cancelled, delay
    from mine cross join unnest(hour_list) as hours (hour)
    union all
    select entity, k, day || 'd', 1, late, is_cancelled, delay
    from mine cross join unnest(day_list) as back (day)
    union all
    select
        entity,
        date_trunc('hour', k + interval 59 minutes) + to_hours(hour),
        hour || 'h', -1, late, is_cancelled, delay
    from mine cross join unnest(hour_list) as hours (hour)
    union all
    select entity, midnight(known_day + day + 1), day || 'd', -1, late, is_cancelled, delay
    from mine cross join unnest(day_list) as back (day)
    union all
    select entity, midnight(day), null, 0, false, false, 0
    from (select distinct entity from mine) cross join days
),

moments as (
    select
        entity,
        moment,
        bool_or(look_back is not null) as changed,
        sum(sign) filter (look_back = '6h') as flights_6h,
        sum(sign * late::int) filter (look_back = '6h') as late_6h,
        sum(sign * is_cancelled::int) filter (look_back = '6h') as cancelled_6h,
        sum(sign * delay) filter (look_back = '6h') as delay_6h,
        sum(sign) filter (look_back = '1d') as flights_1d,
        sum(sign * late::int) filter (look_back = '1d') as late_1d,
        sum(sign * is_cancelled::int) filter (look_back = '1d') as cancelled_1d,
        sum(sign * delay) filter (look_back = '1d') as delay_1d,
        sum(sign) filter (look_back = '7d') as flights_7d,
        sum(sign * late::int) filter (look_back = '7d') as late_7d,
        sum(sign * is_cancelled::int) filter (look_back = '7d') as cancelled_7d,
        sum(sign * delay) filter (look_back = '7d') as delay_7d,
        sum(sign) filter (look_back = '28d') as flights_28d,
        sum(sign * late::int) filter (look_back = '28d') as late_28d,
        sum(sign * is_cancelled::int) filter (look_back = '28d') as cancelled_28d,
        sum(sign * delay) filter (look_back = '28d') as delay_28d
    from changes
    group by entity, moment
)

select
    local_day(moment) as feature_day,
    moment as feature_at,
    entity,
    changed,
    coalesce(sum(flights_6h) over so_far, 0) as flights_6h,
    coalesce(sum(late_6h) over so_far, 0) as late_6h,
    coalesce(sum(cancelled_6h) over so_far, 0) as cancelled_6h,
    coalesce(sum(delay_6h) over so_far, 0) as delay_6h,
    coalesce(sum(flights_1d) over so_far, 0) as flights_1d,
    coalesce(sum(late_1d) over so_far, 0) as late_1d,
    coalesce(sum(cancelled_1d) over so_far, 0) as cancelled_1d,
    coalesce(sum(delay_1d) over so_far, 0) as delay_1d,
    coalesce(sum(flights_7d) over so_far, 0) as flights_7d,
    coalesce(sum(late_7d) over so_far, 0) as late_7d,
    coalesce(sum(cancelled_7d) over so_far, 0) as cancelled_7d,
    coalesce(sum(delay_7d) over so_far, 0) as delay_7d,
    coalesce(sum(flights_28d) over so_far, 0) as flights_28d,
    coalesce(sum(late_28d) over so_far, 0) as late_28d,
    coalesce(sum(cancelled_28d) over so_far, 0) as cancelled_28d,
    coalesce(sum(delay_28d) over so_far, 0) as delay_28d
from moments
window so_far as (partition by entity order by moment rows unbounded preceding);

create table features.carrier_history as
select
    feature_day,
    feature_at,
    entity.origin as origin,
    entity.carrier as carrier,
    cast(flights_6h as integer) as carrier_flights_6h,
    late_6h / nullif(flights_6h - cancelled_6h, 0) as carrier_late_rate_6h,
    cancelled_6h / nullif(flights_6h, 0) as carrier_cancelled_rate_6h,
    delay_6h / nullif(flights_6h - cancelled_6h, 0) as carrier_mean_delay_minutes_6h,
    cast(flights_1d as integer) as carrier_flights_1d,
    late_1d / nullif(flights_1d - cancelled_1d, 0) as carrier_late_rate_1d,
    cancelled_1d / nullif(flights_1d, 0) as carrier_cancelled_rate_1d,
    delay_1d / nullif(flights_1d - cancelled_1d, 0) as carrier_mean_delay_minutes_1d,
    cast(flights_7d as integer) as carrier_flights_7d,
    late_7d / nullif(flights_7d - cancelled_7d, 0) as carrier_late_rate_7d,
    cancelled_7d / nullif(flights_7d, 0) as carrier_cancelled_rate_7d,
    delay_7d / nullif(flights_7d - cancelled_7d, 0) as carrier_mean_delay_minutes_7d,
    cast(flights_28d as integer) as carrier_flights_28d,
    late_28d / nullif(flights_28d - cancelled_28d, 0) as carrier_late_rate_28d,
    cancelled_28d / nullif(flights_28d, 0) as carrier_cancelled_rate_28d,
    delay_28d / nullif(flights_28d - cancelled_28d, 0) as carrier_mean_delay_minutes_28d
from history({'origin': origin, 'carrier': carrier}, [6], [1, 7, 28])
where in_year(feature_day) and (changed or flights_28d > 0)
order by all;

create table features.route_history as
select
    feature_day,
    feature_at,
    entity.origin as origin,
    entity.dest as dest,
    cast(flights_6h as integer) as route_flights_6h,
    late_6h / nullif(flights_6h - cancelled_6h, 0) as route_late_rate_6h,
    delay_6h / nullif(flights_6h - cancelled_6h, 0) as route_mean_delay_minutes_6h,
    cast(flights_1d as integer) as route_flights_1d,
    late_1d / nullif(flights_1d - cancelled_1d, 0) as route_late_rate_1d,
    delay_1d / nullif(flights_1d - cancelled_1d, 0) as route_mean_delay_minutes_1d,
    cast(flights_7d as integer) as route_flights_7d,
    late_7d / nullif(flights_7d - cancelled_7d, 0) as route_late_rate_7d,
    delay_7d / nullif(flights_7d - cancelled_7d, 0) as route_mean_delay_minutes_7d
from history({'origin': origin, 'dest': dest}, [6], [1, 7])
where in_year(feature_day) and (changed or flights_7d > 0)
order by all;

create table features.origin_history as
select
    feature_day,
    feature_at,
    entity as origin,
    cast(flights_6h as integer) as origin_flights_6h,
    late_6h / nullif(flights_6h - cancelled_6h, 0) as origin_late_rate_6h,
    cancelled_6h / nullif(flights_6h, 0) as origin_cancelled_rate_6h,
    delay_6h / nullif(flights_6h - cancelled_6h, 0) as origin_mean_delay_minutes_6h,
    cast(flights_1d as integer) as origin_flights_1d,
    late_1d / nullif(flights_1d - cancelled_1d, 0) as origin_late_rate_1d,
    cancelled_1d / nullif(flights_1d, 0) as origin_cancelled_rate_1d,
    delay_1d / nullif(flights_1d - cancelled_1d, 0) as origin_mean_delay_minutes_1d
from history(origin, [6], [1])
where in_year(feature_day) and (changed or flights_1d > 0)
order by all;

create table features.destination_history as
select
    feature_day,
    feature_at,
    entity as dest,
    cast(flights_6h as integer) as destination_flights_6h,
    late_6h / nullif(flights_6h - cancelled_6h, 0) as destination_late_rate_6h,
    delay_6h / nullif(flights_6h - cancelled_6h, 0) as destination_mean_delay_minutes_6h,
    cast(flights_1d as integer) as destination_flights_1d,
    late_1d / nullif(flights_1d - cancelled_1d, 0) as destination_late_rate_1d,
    delay_1d / nullif(flights_1d - cancelled_1d, 0) as destination_mean_delay_minutes_1d,
    cast(flights_7d as integer) as destination_flights_7d,
    late_7d / nullif(flights_7d - cancelled_7d, 0) as destination_late_rate_7d,
    delay_7d / nullif(flights_7d - cancelled_7d, 0) as destination_mean_delay_minutes_7d
from history(dest, [6], [1, 7])
where in_year(feature_day) and (changed or flights_7d > 0)
order by all;

create table features.flight_number_history as
select
    feature_day,
    feature_at,
    entity.carrier as carrier,
    entity.flight_number as flight_number,
    cast(flights_7d as integer) as flight_number_flights_7d,
    late_7d / nullif(flights_7d - cancelled_7d, 0) as flight_number_late_rate_7d,
    delay_7d / nullif(flights_7d - cancelled_7d, 0) as flight_number_mean_delay_minutes_7d,
    cast(flights_28d as integer) as flight_number_flights_28d,
    late_28d / nullif(flights_28d - cancelled_28d, 0) as flight_number_late_rate_28d,
    delay_28d / nullif(flights_28d - cancelled_28d, 0) as flight_number_mean_delay_minutes_28d
from history({'carrier': carrier, 'flight_number': flight_number}, cast([] as integer[]), [7, 28])
where in_year(feature_day) and (changed or flights_28d > 0)
order by all;

create table features.aircraft_history as
select
    feature_day,
    feature_at,
    entity as tail_number,
    cast(flights_1d as integer) as aircraft_flights_1d,
    late_1d / nullif(flights_1d - cancelled_1d, 0) as aircraft_late_rate_1d,
    delay_1d / nullif(flights_1d - cancelled_1d, 0) as aircraft_mean_delay_minutes_1d,
    cast(flights_28d as integer) as aircraft_flights_28d,
    late_28d / nullif(flights_28d - cancelled_28d, 0) as aircraft_late_rate_28d,
    delay_28d / nullif(flights_28d - cancelled_28d, 0) as aircraft_mean_delay_minutes_28d
from history(tail_number, cast([] as integer[]), [1, 28])
where in_year(feature_day) and (changed or flights_28d > 0)
order by all;

-- Every flight at every moment of a grid at which it was to be seen, and at one more.
create macro next_on_grid(instant, step) as
    time_bucket(to_minutes(step), instant + to_minutes(step - 1), timestamp '2013-01-01');

create macro congestion(entity_of, step) as table
with flights as (
    select
        *,
        entity_of as entity,
        greatest(departed_at, midnight(flight_date)) as seen_from,
        least(departed_at, scheduled_departure_at + interval 6 hours) as overdue_until
    from marts.fct_flights
    where departed_at is not null
),

seen as (
    select
        unnest(generate_series(
            next_on_grid(seen_from, step),
            next_on_grid(seen_from, step) + interval 3 hours,
            to_minutes(step)
        )) as moment,
        *
    from flights
    where departed_at <= scheduled_departure_at + interval 24 hours
),

waiting as (
    select
        unnest(generate_series(
            next_on_grid(scheduled_departure_at, step),
            next_on_grid(overdue_until, step),
            to_minutes(step)
        )) as moment,
        *
    from flights
    where next_on_grid(scheduled_departure_at, step) < overdue_until
),

departures as (
    select
        moment,
        entity,
        count(*) filter (seen_from > moment - interval 1 hour) as n_1h,
        count(*) filter (seen_from > moment - interval 1 hour and departure_delay_minutes > 15)
            as late_1h,
        coalesce(sum(departure_delay_minutes) filter (seen_from > moment - interval 1 hour), 0)
            as delay_1h,
        count(*) filter (seen_from > moment - interval 3 hours) as n_3h,
        count(*) filter (seen_from > moment - interval 3 hours and departure_delay_minutes > 15)
            as late_3h,
        coalesce(sum(departure_delay_minutes) filter (seen_from > moment - interval 3 hours), 0)
            as delay_3h
    from seen
    group by all
),

overdue as (
    select
        moment,
        entity,
        count(*) filter (departed_at > moment and moment < scheduled_departure_at + interval 6 hours)
            as n,
        coalesce(
            sum(date_sub('minute', scheduled_departure_at, moment)) filter (
                departed_at > moment and moment < scheduled_departure_at + interval 6 hours
            ), 0
        ) as minutes
    from waiting
    group by all
)

select
    local_day(moment) as feature_day,
    moment as feature_at,
    entity,
    columns(departures.* exclude (moment, entity)),
    coalesce(overdue.n, 0) as overdue,
    coalesce(overdue.minutes, 0) as minutes
from departures
full join overdue using (moment, entity)
where in_year(local_day(moment));

create table features.origin_congestion as
select
    feature_day,
    feature_at,
    entity as origin,
    cast(coalesce(n_1h, 0) as integer) as origin_departures_1h,
    late_1h / nullif(n_1h, 0) as origin_late_departure_rate_1h,
    delay_1h / nullif(n_1h, 0) as origin_mean_departure_delay_minutes_1h,
    cast(coalesce(n_3h, 0) as integer) as origin_departures_3h,
    late_3h / nullif(n_3h, 0) as origin_late_departure_rate_3h,
    delay_3h / nullif(n_3h, 0) as origin_mean_departure_delay_minutes_3h,
    cast(overdue as integer) as origin_overdue_flights,
    minutes / nullif(overdue, 0) as origin_mean_overdue_minutes
from congestion(origin, 10)
order by all;

create table features.carrier_congestion as
select
    feature_day,
    feature_at,
    entity.origin as origin,
    entity.carrier as carrier,
    cast(coalesce(n_3h, 0) as integer) as carrier_departures_3h,
    late_3h / nullif(n_3h, 0) as carrier_late_departure_rate_3h,
    delay_3h / nullif(n_3h, 0) as carrier_mean_departure_delay_minutes_3h,
    cast(overdue as integer) as carrier_overdue_flights,
    minutes / nullif(overdue, 0) as carrier_mean_overdue_minutes
from congestion({'origin': origin, 'carrier': carrier}, 15)
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
