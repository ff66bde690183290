//! The rules against an oracle that knows no rule but the one sentence: it walks through time step by step, asks for
//! the local date and time of each step, and judges it by the definition.

use jiff::ToSpan;
use jiff::civil::DateTime;
use proptest::prelude::*;

use super::*;

/// Zones with something odd about each: half and quarter hours, half an hour of summer time, a day that was skipped,
/// clock changes at midnight, a summer time that is undone for a month, and one that was given up.
const ODD: [&str; 12] = [
    "UTC",
    "Europe/Oslo",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Asia/Beirut",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Pacific/Apia",
];

const HOUR_US: i64 = 60 * MINUTE_US;
const SECOND_US: i64 = 1_000_000;
/// 2037-01-01.
const LATEST_US: i64 = 2_114_380_800 * SECOND_US;

/// The sentence: the local date is no holiday, and the local wall-clock time lies in a shift.
fn is_working(definition: &Definition, zone: &TimeZone, us: i64) -> bool {
    let local = zone.to_datetime(Timestamp::from_microsecond(us).expect("within range"));
    if definition.holidays.contains_key(&local.date()) {
        return false;
    }
    let minute = i64::from(local.hour()) * 60 + i64::from(local.minute());
    let today = local.weekday();
    let shifts = |day: jiff::civil::Weekday| {
        let day = Weekday::ALL[usize::try_from(day.to_monday_zero_offset()).expect("0 to 6")];
        definition.working_hours.get(&day).map(Vec::as_slice).unwrap_or_default()
    };
    let within = |shift: &Shift| {
        let (from, to) = (shift.from.minutes(), shift.to.minutes());
        from <= minute && (minute < to || to <= from)
    };
    let runs_in = |shift: &Shift| shift.to.minutes() <= shift.from.minutes() && minute < shift.to.minutes();
    shifts(today).iter().any(within) || shifts(today.previous()).iter().any(runs_in)
}

/// The working time from `from` to `to`, step by step. A step must be short enough that nothing changes within it.
fn oracle(definition: &Definition, zone: &TimeZone, from: i64, to: i64, step: i64) -> i64 {
    let mut sum = 0;
    let mut at = from.div_euclid(step) * step;
    while at < to {
        if is_working(definition, zone, at) {
            sum += to.min(at + step) - from.max(at);
        }
        at += step;
    }
    sum
}

fn us(text: &str) -> i64 {
    text.parse::<Instant>().expect("an instant").micros()
}

fn working(calendar: &Calendar, from: i64, to: i64) -> i64 {
    calendar.working_us(Instant::from_micros(from), Instant::from_micros(to))
}

fn after(calendar: &Calendar, from: i64, work: i64) -> Option<i64> {
    calendar.after_working(Instant::from_micros(from), work).map(Instant::micros)
}

fn shift(from: i64, to: i64) -> Shift {
    let time = |minutes: i64| TimeOfDay(u16::try_from(minutes).expect("at most 1440"));
    Shift { from: time(from), to: time(to) }
}

/// The week of these stretches, in minutes since Monday 00:00. One that goes over midnight becomes one shift that runs
/// into the next day, or two, as `split` says.
fn week(stretches: &[(i64, i64)], split: bool) -> BTreeMap<Weekday, Vec<Shift>> {
    let mut week: BTreeMap<Weekday, Vec<Shift>> = BTreeMap::new();
    for &(mut from, to) in stretches {
        while from < to {
            let midnight = (from / 1440 + 1) * 1440;
            let in_one = to > midnight && to - from < 1440 && !split;
            let until = if in_one { to } else { to.min(midnight) };
            let end = if until == midnight { 1440 } else { until % 1440 };
            let day = Weekday::ALL[usize::try_from(from / 1440 % 7).expect("0 to 6")];
            week.entry(day).or_default().push(shift(from % 1440, end));
            from = until;
        }
    }
    week
}

prop_compose! {
    /// Any number of stretches, also over midnight and over the end of the week.
    fn some_week()(
        cuts in prop::collection::btree_set(0..7 * 1440i64, 2..16),
        turn in 0..7 * 1440i64, split: bool, coarse: bool,
    ) -> BTreeMap<Weekday, Vec<Shift>> {
        let cuts: BTreeSet<i64> = cuts.into_iter().map(|cut| if coarse { cut / 30 * 30 } else { cut }).collect();
        let cuts: Vec<i64> = cuts.into_iter().collect();
        let turn = if coarse { turn / 30 * 30 } else { turn };
        let stretches: Vec<_> = cuts.chunks_exact(2).map(|pair| (pair[0] + turn, pair[1] + turn)).collect();
        if stretches.is_empty() { around_the_clock() } else { week(&stretches, split) }
    }
}

fn around_the_clock() -> BTreeMap<Weekday, Vec<Shift>> {
    week(&[(0, 7 * 1440)], true)
}

fn any_week() -> impl Strategy<Value = BTreeMap<Weekday, Vec<Shift>>> {
    let office = week(&[(480, 960), (1920, 2400), (3360, 3840), (4800, 5280), (6240, 6720)], true);
    prop_oneof![8 => some_week(), 1 => Just(around_the_clock()), 1 => Just(office)]
}

/// When this zone's clocks change, from 1970 on.
fn changes(zone: &TimeZone) -> Vec<i64> {
    let all = zone.following(Timestamp::UNIX_EPOCH).map(|change| change.timestamp().as_microsecond());
    all.take_while(|us| *us < LATEST_US).collect()
}

/// A range of at most `longest`, most often across a change of the clocks.
fn any_range(zone: &'static str, longest: i64) -> impl Strategy<Value = (i64, i64)> {
    let changes = changes(&super::zone(zone).expect("a zone"));
    let near = (any::<prop::sample::Index>(), -longest..longest).prop_map(move |(nth, off)| match changes.len() {
        0 => us("2026-03-29T01:00:00Z") + off,
        many => changes[nth.index(many)] + off,
    });
    let far = 0..LATEST_US;
    (prop_oneof![4 => near, 1 => far], 0..longest).prop_map(|(from, length)| (from.max(0), from.max(0) + length))
}

/// A calendar with holidays in and around a range of time in its zone.
fn any_case(longest: i64) -> impl Strategy<Value = (Definition, TimeZone, i64, i64)> {
    let holidays = prop::collection::vec(prop::bool::weighted(0.2), 16);
    let odd = prop::sample::select(&ODD[..]);
    let apia = Just("Pacific/Apia").prop_flat_map(move |name| {
        let skipped = us("2011-12-30T10:00:00Z");
        (
            Just(name),
            (-longest..longest, 0..longest).prop_map(move |(off, length)| (skipped + off, skipped + off + length)),
        )
    });
    let place = prop_oneof![12 => odd.prop_flat_map(move |name| (Just(name), any_range(name, longest))), 1 => apia];
    (any_week(), holidays, place).prop_map(|(working_hours, holidays, (name, (from, to)))| {
        let zone = zone(name).expect("a zone");
        let first = zone.to_datetime(Timestamp::from_microsecond(from).expect("within range")).date();
        let dates = (-1..).zip(holidays).filter(|(_, is)| *is).map(|(day, _)| first.saturating_add(day.days()));
        let holidays = dates.map(|date| (date, String::new())).collect();
        (Definition { time_zone: name.into(), working_hours, holidays }, zone, from, to)
    })
}

fn made(definition: &Definition) -> Calendar {
    Calendar::new(definition).expect("a good definition")
}

proptest! {
    #[test]
    fn working_time_is_what_the_sentence_says((definition, zone, from, to) in any_case(4 * DAY_US)) {
        let calendar = made(&definition);
        prop_assert_eq!(working(&calendar, from, to), oracle(&definition, &zone, from, to, MINUTE_US));
    }

    #[test]
    fn to_the_second_too((definition, zone, from, to) in any_case(2 * HOUR_US)) {
        let calendar = made(&definition);
        prop_assert_eq!(working(&calendar, from, to), oracle(&definition, &zone, from, to, SECOND_US));
    }

    /// Liberia's clocks were 44 minutes and 30 seconds behind until 1972: no boundary is on a whole minute.
    #[test]
    fn where_offsets_have_seconds(working_hours in any_week(), off in -2 * HOUR_US..2 * HOUR_US, length in 0..2 * HOUR_US) {
        let definition = Definition { time_zone: "Africa/Monrovia".into(), working_hours, ..Definition::default() };
        let zone = zone("Africa/Monrovia").expect("a zone");
        let from = us("1972-01-07T00:44:30Z") + off;
        let (calendar, to) = (made(&definition), from + length);
        prop_assert_eq!(working(&calendar, from, to), oracle(&definition, &zone, from, to, SECOND_US));
    }

    #[test]
    fn a_promise_ends_at_the_first_instant_that_it_can((definition, zone, from, to) in any_case(4 * DAY_US), share in 0.0..=1.0f64) {
        let calendar = made(&definition);
        let all = oracle(&definition, &zone, from, to, MINUTE_US);
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any share will do")]
        let work = (all as f64 * share) as i64;
        let end = after(&calendar, from, work);
        prop_assert!(end.is_some_and(|end| from <= end && end <= to.max(from)), "{end:?}");
        let end = end.unwrap_or(from);
        prop_assert_eq!(oracle(&definition, &zone, from, end, MINUTE_US), work);
        if work > 0 {
            prop_assert_eq!(oracle(&definition, &zone, from, end - 1, MINUTE_US), work - 1);
        } else {
            prop_assert_eq!(end, from);
        }
    }

    /// Far beyond what the oracle can walk: weeks and months.
    #[test]
    fn the_laws_of_working_time(
        (definition, _, from, to) in any_case(200 * DAY_US), cut in 0.0..=1.0f64, work in 0..60 * DAY_US, more in 0..DAY_US,
    ) {
        let calendar = made(&definition);
        let all = working(&calendar, from, to);
        prop_assert!((0..=to - from).contains(&all));
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any place will do")]
        let between = from + ((to - from) as f64 * cut) as i64;
        prop_assert_eq!(working(&calendar, from, between) + working(&calendar, between, to), all);
        prop_assert_eq!(working(&calendar, to, from), 0);
        let (Some(end), Some(later)) = (after(&calendar, from, work), after(&calendar, from, work + more)) else {
            // Less than a minute of work a week can be too little for sixty days of it.
            prop_assert!(definition.weekly_s() * 530 * SECOND_US < work + more);
            return Ok(());
        };
        prop_assert!(end <= later);
        prop_assert_eq!(working(&calendar, from, end), work);
        prop_assert!(work == 0 || working(&calendar, from, end - 1) == work - 1);
    }

    #[test]
    fn a_week_is_as_long_as_its_shifts(working_hours in any_week()) {
        let definition = Definition { time_zone: "Etc/GMT-7".into(), working_hours, ..Definition::default() };
        let from = us("2026-03-02T09:00:00Z");
        let week = working(&made(&definition), from, from + 7 * DAY_US);
        prop_assert_eq!(week, definition.weekly_s() * SECOND_US);
    }

    /// A week is refused exactly when some minute of it lies in two shifts.
    #[test]
    fn overlaps_are_found(shifts in prop::collection::vec((0..7usize, 0..1440i64, 0..=1440i64), 1..5)) {
        let mut working_hours: BTreeMap<Weekday, Vec<Shift>> = BTreeMap::new();
        let mut covered = vec![0; 7 * 1440];
        for (day, from, to) in shifts.into_iter().filter(|(_, from, to)| from != to) {
            working_hours.entry(Weekday::ALL[day]).or_default().push(shift(from, to));
            let begin = day * 1440 + usize::try_from(from).expect("positive");
            let length = usize::try_from((to - from).rem_euclid(1440)).expect("positive");
            for minute in begin..begin + if length == 0 { 1440 } else { length } {
                covered[minute % (7 * 1440)] += 1;
            }
        }
        let definition = Definition { time_zone: "UTC".into(), working_hours, ..Definition::default() };
        let fine = covered.contains(&1) && covered.iter().all(|count| *count <= 1);
        prop_assert_eq!(Calendar::new(&definition).is_ok(), fine);
    }

    #[test]
    fn times_of_day_are_read_as_they_are_written(minutes in 0..=1440u16, text in "[0-9:+ ]{0,6}") {
        prop_assert_eq!(TimeOfDay(minutes).to_string().parse(), Ok(TimeOfDay(minutes)));
        if let Ok(time) = text.parse::<TimeOfDay>() {
            prop_assert_eq!(time.to_string(), text);
        }
    }
}

/// `zone`, working hours as `monday 08:00-16:00 …`, and holidays.
fn calendar(zone: &str, hours: &str, holidays: &[&str]) -> Calendar {
    let mut working_hours: BTreeMap<Weekday, Vec<Shift>> = BTreeMap::new();
    let mut day = Weekday::Monday;
    for word in hours.split(' ') {
        match word.split_once('-') {
            Some((from, to)) => {
                let time = |text: &str| text.parse().expect("a time of day");
                working_hours.entry(day).or_default().push(Shift { from: time(from), to: time(to) });
            }
            None => day = word.parse().expect("a weekday"),
        }
    }
    let holidays = holidays.iter().map(|date| (date.parse().expect("a date"), String::new())).collect();
    made(&Definition { time_zone: zone.into(), working_hours, holidays })
}

const OFFICE: &str =
    "monday 08:00-16:00 tuesday 08:00-16:00 wednesday 08:00-16:00 thursday 08:00-16:00 friday 08:00-16:00";
const ALWAYS: &str = "monday 00:00-24:00 tuesday 00:00-24:00 wednesday 00:00-24:00 thursday 00:00-24:00 friday 00:00-24:00 \
                      saturday 00:00-24:00 sunday 00:00-24:00";

/// Name, zone, hours, holidays, from, to, and the working time in minutes.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str], &'static str, &'static str, i64);

#[test]
fn computed_by_hand() {
    const H: i64 = 60;
    #[rustfmt::skip]
    let cases: [Case; 20] = [
        ("a weekend with the spring change in it", "Europe/Oslo", OFFICE, &[], "2026-03-27T14:00:00Z", "2026-03-30T07:00:00Z", 2 * H),
        ("a weekend with the autumn change in it", "Europe/Oslo", OFFICE, &[], "2026-10-23T13:00:00Z", "2026-10-26T08:00:00Z", 2 * H),
        ("the day of 23 hours", "Europe/Oslo", ALWAYS, &[], "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 23 * H),
        ("the day of 25 hours", "Europe/Oslo", ALWAYS, &[], "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 25 * H),
        ("a night shift over the spring change", "Europe/Oslo", "saturday 22:00-06:00", &[], "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", 7 * H),
        ("a night shift over the autumn change", "Europe/Oslo", "saturday 22:00-06:00", &[], "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z", 9 * H),
        ("an hour that the clocks skip", "Europe/Oslo", "sunday 02:00-03:00", &[], "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", 0),
        ("an hour that the clocks repeat", "Europe/Oslo", "sunday 02:00-03:00", &[], "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z", 2 * H),
        ("a night shift into a holiday", "Europe/Oslo", "thursday 22:00-06:00", &["2026-12-25"], "2026-12-24T12:00:00Z", "2026-12-25T12:00:00Z", 2 * H),
        ("a night shift out of a holiday", "Europe/Oslo", "friday 22:00-06:00", &["2026-12-25"], "2026-12-25T12:00:00Z", "2026-12-26T12:00:00Z", 6 * H),
        ("a holiday of 25 hours", "Europe/Oslo", ALWAYS, &["2026-10-25"], "2026-10-24T21:00:00Z", "2026-10-26T00:00:00Z", 2 * H),
        ("the week runs into the next one", "UTC", "sunday 20:00-04:00", &[], "2026-03-08T12:00:00Z", "2026-03-09T12:00:00Z", 8 * H),
        ("Lord Howe skips half an hour", "Australia/Lord_Howe", "sunday 00:00-06:00", &[], "2026-10-03T12:00:00Z", "2026-10-04T12:00:00Z", 5 * H + 30),
        ("Lord Howe repeats half an hour", "Australia/Lord_Howe", "sunday 00:00-06:00", &[], "2026-04-04T12:00:00Z", "2026-04-05T12:00:00Z", 6 * H + 30),
        ("Apia had no Friday", "Pacific/Apia", OFFICE, &[], "2011-12-29T18:00:00Z", "2011-12-31T09:00:00Z", 8 * H),
        ("Apia's Saturday came at once", "Pacific/Apia", "thursday 20:00-24:00 friday 00:00-24:00 saturday 00:00-01:00", &[], "2011-12-29T00:00:00Z", "2011-12-31T09:00:00Z", 5 * H),
        ("a quarter of an hour aside", "Asia/Kathmandu", OFFICE, &[], "2026-03-02T02:00:00Z", "2026-03-02T03:00:00Z", 45),
        ("a year of all days is its real length", "Europe/Oslo", ALWAYS, &[], "2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z", 365 * 24 * H),
        ("1970 began in 1969", "America/New_York", ALWAYS, &[], "1970-01-01T00:00:00Z", "1970-01-01T06:00:00Z", 6 * H),
        ("the wrong way round", "UTC", ALWAYS, &[], "2026-03-09T00:00:00Z", "2026-03-08T00:00:00Z", 0),
    ];
    for (name, zone, hours, holidays, from, to, minutes) in cases {
        let calendar = calendar(zone, hours, holidays);
        assert_eq!(working(&calendar, us(from), us(to)), minutes * MINUTE_US, "{name}");
    }
}

#[test]
fn promises_computed_by_hand() {
    #[rustfmt::skip]
    let cases = [
        ("four hours over the weekend of the spring change", "Europe/Oslo", OFFICE, "2026-03-27T14:00:00Z", 4 * HOUR_US, "2026-03-30T09:00:00Z"),
        ("to the very end of a day, not the beginning of the next", "Europe/Oslo", OFFICE, "2026-03-27T14:00:00Z", HOUR_US, "2026-03-27T15:00:00Z"),
        ("and one microsecond more", "Europe/Oslo", OFFICE, "2026-03-27T14:00:00Z", HOUR_US + 1, "2026-03-30T06:00:00.000001Z"),
        ("no work is done at once, also at night", "Europe/Oslo", OFFICE, "2026-03-27T22:00:00Z", 0, "2026-03-27T22:00:00Z"),
        ("within the hour that comes twice", "Europe/Oslo", "sunday 02:00-03:00", "2026-10-20T00:00:00Z", 90 * MINUTE_US, "2026-10-25T01:30:00Z"),
        ("two weeks on, since the hour is skipped in between", "Europe/Oslo", "sunday 02:00-03:00", "2026-03-23T00:00:00Z", HOUR_US, "2026-04-05T01:00:00Z"),
        ("past Apia's missing Friday", "Pacific/Apia", "thursday 08:00-16:00 friday 08:00-16:00 saturday 08:00-16:00", "2011-12-29T18:00:00Z", 9 * HOUR_US, "2011-12-30T19:00:00Z"),
    ];
    for (name, zone, hours, from, work, end) in cases {
        assert_eq!(after(&calendar(zone, hours, &[]), us(from), work), Some(us(end)), "{name}");
    }
}

#[test]
fn the_search_for_an_end_is_bounded() {
    let monday: DateTime = "2026-03-02T00:00:00".parse().expect("a date");
    let mondays = (0..MOST_HOLIDAYS)
        .map(|week| (monday.date().saturating_add((7 * i64::try_from(week).expect("small")).days()), String::new()));
    let mut definition = Definition {
        time_zone: "Europe/Oslo".into(),
        working_hours: [(Weekday::Monday, vec![shift(480, 960)])].into(),
        holidays: mondays.collect(),
    };
    let from = us("2026-03-01T00:00:00Z");
    assert_eq!(after(&made(&definition), from, 1), None);
    // Ten years of eight hours a week are there to be promised, and no more.
    definition.holidays.clear();
    let calendar = made(&definition);
    let most = working(&calendar, from, from + HORIZON_US);
    assert!(after(&calendar, from, most).is_some_and(|end| end <= from + HORIZON_US));
    assert_eq!(after(&calendar, from, most + 1), None);
    assert_eq!(after(&calendar, from, i64::MAX), None);
    // At the ends of time there is nothing to find either, and nothing goes wrong.
    assert!(working(&calendar, i64::MIN, i64::MAX) > 0);
    assert_eq!(after(&calendar, i64::MAX, HOUR_US), None);
}

#[test]
fn what_makes_no_sense_is_named_with_its_place() {
    let day = |shifts: &[(i64, i64)]| shifts.iter().map(|(from, to)| shift(*from, *to)).collect::<Vec<_>>();
    let places = |time_zone: &str, working_hours| {
        let definition = Definition { time_zone: time_zone.into(), working_hours, ..Definition::default() };
        let faults = Calendar::new(&definition).err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.pointer).collect::<Vec<_>>().join(" ")
    };
    let good = || [(Weekday::Monday, day(&[(480, 960)]))].into();
    assert_eq!(places("Europe/Oslo", good()), "");
    for unknown in ["", "Europe/Atlantis", "+01:00", "CET-1CEST", "Etc/Unknown", "../UTC"] {
        assert_eq!(places(unknown, good()), "/time_zone", "{unknown}");
    }
    let touching = [(Weekday::Monday, day(&[(480, 720), (720, 480)]))];
    assert_eq!(places("UTC", touching.into()), "", "one may begin when another ends");
    assert_eq!(places("UTC", [].into()), "/working_hours");
    assert_eq!(places("UTC", [(Weekday::Monday, vec![])].into()), "/working_hours");
    assert_eq!(places("UTC", [(Weekday::Monday, day(&[(480, 960), (540, 540)]))].into()), "/working_hours/monday/1/to");
    assert_eq!(places("UTC", [(Weekday::Monday, day(&[(1440, 60)]))].into()), "/working_hours/monday/0/from");
    assert_eq!(places("UTC", [(Weekday::Friday, day(&[(480, 960), (900, 1000)]))].into()), "/working_hours/friday");
    let overnight = [(Weekday::Sunday, day(&[(1320, 360)])), (Weekday::Monday, day(&[(300, 400)]))];
    assert_eq!(places("UTC", overnight.into()), "/working_hours/monday");
    let many: Vec<_> = (0..=12).map(|hour| (hour * 60, hour * 60 + 30)).collect();
    assert_eq!(places("Mars", [(Weekday::Friday, day(&many))].into()), "/time_zone /working_hours/friday");
}
