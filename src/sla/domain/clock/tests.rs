//! The clocks against an oracle that walks minute by minute, and the laws that they must keep.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Weekday as CivilWeekday;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::kernel::{Channel, Priority, TicketType};
use crate::sla::domain::calendar::{Calendar, Definition, Shift, Weekday, zone};
use crate::sla::domain::policy::{Condition, Hours, Policy, PolicyDefinition, Rule, SlaConfiguration, VersionOf};

const MINUTE_US: i64 = 60_000_000;

const ZONES: [&str; 6] =
    ["Europe/Oslo", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "UTC"];

/// Evenings before something happens to local time: both changes in Oslo, New York and on Lord Howe, Apia's lost
/// Friday, a year's end, and nothing at all.
const BEGINNINGS: [&str; 9] = [
    "2026-03-28T18:00:00Z",
    "2026-10-24T18:00:00Z",
    "2026-03-07T20:00:00Z",
    "2026-10-31T20:00:00Z",
    "2026-10-03T06:00:00Z",
    "2026-04-04T06:00:00Z",
    "2011-12-29T12:00:00Z",
    "2026-12-31T10:00:00Z",
    "2026-03-02T09:00:00Z",
];

#[derive(Debug, Clone)]
enum Happening {
    Step(Status),
    Reply,
    Priority(Priority),
    /// The policy is edited: from now on it says this.
    Policy(Vec<Rule>),
    /// The calendar is edited.
    Calendar(Definition),
}

#[derive(Debug, Clone)]
pub(crate) struct Story {
    begins: Instant,
    /// Minutes between the report and the moment at which the ticket was typed in.
    reported_before: i64,
    definition: Definition,
    rules: Vec<Rule>,
    priority: Priority,
    /// What happens, each some minutes after the last.
    happenings: Vec<(i64, Happening)>,
    /// Minutes from the last happening to the moment at which somebody looks.
    looks_after: i64,
}

fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule = (
        prop::sample::select(Target::ALL),
        prop::option::of(prop::sample::select(Priority::ALL)),
        1i64..2_000,
        prop::sample::select(Hours::ALL),
    );
    let rule = rule.prop_map(|(target, priority, minutes, hours)| Rule {
        target,
        priority,
        target_s: minutes * 60,
        hours,
        notify_before_s: None,
    });
    prop::collection::vec(rule, 1..7).prop_map(|mut rules| {
        let mut seen = Vec::new();
        rules.retain(|rule| {
            let fresh = !seen.contains(&(rule.target, rule.priority));
            seen.push((rule.target, rule.priority));
            fresh
        });
        rules
    })
}

fn any_definition() -> impl Strategy<Value = Definition> {
    let shift = (0u16..24, prop::sample::select([0u16, 15, 30].as_slice()), 1u16..20);
    let shift = shift.prop_map(|(hour, minute, hours)| {
        let (from, to) = (hour * 60 + minute, (hour + hours) % 24 * 60 + minute);
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60).parse().expect("a time of day");
        Shift { from: time(from), to: time(to) }
    });
    let week =
        prop::collection::btree_map(prop::sample::select(Weekday::ALL), prop::collection::vec(shift, 1..2), 1..7);
    let holidays = prop::collection::vec(0i64..12, 0..3);
    (prop::sample::select(ZONES.as_slice()), week, holidays, prop::sample::select(BEGINNINGS.as_slice()))
        .prop_filter_map("shifts that overlap", |(time_zone, working_hours, holidays, near)| {
            let first: Timestamp = near.parse().ok()?;
            let day = zone(time_zone)?.to_datetime(first).date();
            let holidays = holidays.iter().filter_map(|n| day.checked_add(jiff::Span::new().days(*n)).ok());
            let holidays = holidays.map(|date| (date, "Holiday".to_owned())).collect();
            let definition = Definition { time_zone: time_zone.into(), working_hours, holidays };
            Calendar::new(&definition).ok().map(|_| definition)
        })
}

pub(crate) fn any_story() -> impl Strategy<Value = Story> {
    let happening = prop_oneof![
        6 => prop::sample::select(Status::ALL).prop_map(Happening::Step),
        2 => Just(Happening::Reply),
        2 => prop::sample::select(Priority::ALL).prop_map(Happening::Priority),
        1 => any_rules().prop_map(Happening::Policy),
        1 => any_definition().prop_map(Happening::Calendar),
    ];
    (
        prop::sample::select(BEGINNINGS.as_slice()),
        prop_oneof![3 => Just(0i64), 1 => 0i64..3_000],
        any_definition(),
        any_rules(),
        prop::sample::select(Priority::ALL),
        prop::collection::vec((prop_oneof![1 => Just(0i64), 8 => 1i64..1_500], happening), 0..9),
        0i64..3_000,
    )
        .prop_map(|(begins, reported_before, definition, rules, priority, happenings, looks_after)| Story {
            begins: begins.parse().expect("an instant"),
            reported_before,
            definition,
            rules,
            priority,
            happenings,
            looks_after,
        })
}

/// What the rules of the house make of a story.
#[derive(Clone)]
struct World {
    times: Times,
    traits: Traits,
    status: Status,
    now: Instant,
    version: i64,
    rules: Vec<Rule>,
    definition: Definition,
    calendar_set: CalendarSet,
}

impl World {
    fn of(story: &Story) -> Self {
        let traits = Traits {
            team_id: None,
            priority: story.priority,
            kind: TicketType::Incident,
            channel: Channel::Api,
            tags: vec![],
        };
        Self {
            times: Times::new(Instant::from_micros(story.begins.micros() - story.reported_before * MINUTE_US)),
            traits,
            status: Status::New,
            now: story.begins,
            version: 1,
            rules: story.rules.clone(),
            definition: story.definition.clone(),
            calendar_set: CalendarSet::default(),
        }
    }

    fn configuration(&mut self) -> SlaConfiguration {
        let id = CalendarId(Uuid::from_u128(1));
        let of = VersionOf { id, version: self.version };
        let calendar = Arc::new(Calendar::new(&self.definition).expect("a calendar"));
        self.calendar_set.0.insert(of, calendar);
        let policy = Policy {
            of: VersionOf { id: PolicyId(Uuid::from_u128(2)), version: self.version },
            definition: PolicyDefinition {
                name: "Policy".into(),
                position: 1,
                condition: Condition::default(),
                calendar_id: Some(id),
                targets: self.rules.clone(),
            },
        };
        SlaConfiguration {
            edit: 0,
            policies: vec![policy],
            calendars: BTreeMap::from([(id, self.version)]),
            default_calendar: None,
            calendar_set: self.calendar_set.clone(),
        }
    }

    fn judge(&mut self, occasion: Occasion) {
        let (configuration, calendar_set) = (self.configuration(), self.calendar_set.clone());
        self.times.judge(&self.traits, &configuration, &calendar_set, occasion, self.now);
    }
}

/// What is written down in the course of a story: the times of the ticket, its priority, and when; and when somebody
/// looks at the end.
pub(crate) fn told(story: &Story) -> (Vec<(Times, Priority, Instant)>, Instant) {
    let mut world = World::of(story);
    world.judge(Occasion::Ticket);
    let mut written = vec![(world.times.clone(), story.priority, world.now)];
    for (minutes, happening) in &story.happenings {
        world.now = Instant::from_micros(world.now.micros() + minutes * MINUTE_US);
        let occasion = match happening {
            Happening::Step(to) if !world.status.next().contains(to) => continue,
            Happening::Reply if world.times.timeline.first_replied_at.is_some() => continue,
            // Whatever is configured, a closed ticket is not judged anew.
            _ if world.status == Status::Closed => continue,
            Happening::Step(to) => {
                world.status = *to;
                world.times.step(*to, world.now);
                Occasion::Step
            }
            Happening::Reply => {
                world.times.timeline.first_replied_at = Some(world.now);
                Occasion::Step
            }
            Happening::Priority(priority) => {
                world.traits.priority = *priority;
                Occasion::Ticket
            }
            Happening::Policy(rules) => {
                world.rules = rules.clone();
                world.version += 1;
                Occasion::Configuration
            }
            Happening::Calendar(definition) => {
                world.definition = definition.clone();
                world.version += 1;
                Occasion::Configuration
            }
        };
        world.judge(occasion);
        written.push((world.times.clone(), world.traits.priority, world.now));
    }
    let looks = Instant::from_micros(world.now.micros() + story.looks_after * MINUTE_US);
    (written, looks)
}

/// The oracle: everything minute by minute, from first principles, remembering only what the contract says is kept.
#[derive(Default)]
struct Oracle {
    /// For each minute since the report: the status in it.
    minutes: Vec<Status>,
    replied_at: Option<usize>,
    /// When it was solved last; a stretch of no length leaves no minute to see it by.
    solved_at: usize,
    clocks: BTreeMap<Target, Judged>,
}

#[derive(Debug, Clone, PartialEq)]
enum Judged {
    Live(Rule, Definition),
    Met(usize),
    Breached { due: usize, at_us: i64, rule: Rule, definition: Definition },
}

impl Oracle {
    fn works(definition: &Definition, us: i64) -> bool {
        let local = zone(&definition.time_zone)
            .expect("a zone")
            .to_datetime(Timestamp::from_microsecond(us).expect("in range"));
        if definition.holidays.contains_key(&local.date()) {
            return false;
        }
        let minute = i64::from(local.hour()) * 60 + i64::from(local.minute());
        let on = |weekday: CivilWeekday| {
            let day = Weekday::ALL[usize::try_from(weekday.to_monday_zero_offset()).expect("0 to 6")];
            definition.working_hours.get(&day).map(Vec::as_slice).unwrap_or_default()
        };
        let today = on(local.weekday()).iter().any(|shift| {
            let (from, to) = (shift.from.minutes(), shift.to.minutes());
            if from < to { from <= minute && minute < to } else { from <= minute }
        });
        let since_yesterday = on(local.weekday().previous()).iter().any(|shift| {
            let (from, to) = (shift.from.minutes(), shift.to.minutes());
            from >= to && minute < to
        });
        today || since_yesterday
    }

    fn counts(&self, target: Target, minute: usize) -> bool {
        match target {
            Target::Response => self.minutes[minute] == Status::New,
            Target::FirstReply => self.replied_at.is_none_or(|at| minute < at),
            Target::Service => self.minutes[minute] == Status::Open,
        }
    }

    /// What has counted by now, and the minute at which it became due, if that has come.
    fn walk(&self, target: Target, rule: &Rule, definition: &Definition, report_us: i64) -> (i64, Option<usize>) {
        let (mut counted, mut due) = (0, None);
        for minute in 0..self.minutes.len() {
            if self.counts(target, minute) {
                if counted * 60 >= rule.target_s && due.is_none() {
                    due = Some(minute);
                }
                let us = report_us + i64::try_from(minute).expect("few") * MINUTE_US;
                counted += i64::from(rule.hours == Hours::Calendar || Self::works(definition, us));
            }
        }
        (counted, due)
    }

    fn ended(&self, target: Target, status: Status) -> Option<usize> {
        match target {
            Target::Response => {
                (status != Status::New).then(|| self.minutes.iter().take_while(|s| **s == Status::New).count())
            }
            Target::FirstReply => self.replied_at,
            Target::Service => matches!(status, Status::Resolved | Status::Closed).then_some(self.solved_at),
        }
    }
}

fn rule_for(rules: &[Rule], target: Target, priority: Priority) -> Option<Rule> {
    let of = |wanted: Option<Priority>| rules.iter().find(|r| r.target == target && r.priority == wanted).cloned();
    of(Some(priority)).or_else(|| of(None))
}

fn check(story: &Story) -> Result<(), TestCaseError> {
    let reported_at = Instant::from_micros(story.begins.micros() - story.reported_before * MINUTE_US);
    let report_us = reported_at.micros();
    let mut world = World::of(story);
    let mut oracle = Oracle {
        minutes: vec![Status::New; usize::try_from(story.reported_before).expect("few")],
        ..Oracle::default()
    };
    world.judge(Occasion::Ticket);
    renew(&mut oracle, &world, Occasion::Ticket, report_us);
    for (minutes, happening) in &story.happenings {
        world.now = Instant::from_micros(world.now.micros() + minutes * MINUTE_US);
        oracle.minutes.extend(std::iter::repeat_n(world.status, usize::try_from(*minutes).expect("few")));
        lapse(&mut oracle, report_us);
        let occasion = match happening {
            Happening::Step(to) => {
                if !world.status.next().contains(to) {
                    continue;
                }
                world.status = *to;
                if *to == Status::Resolved {
                    oracle.solved_at = oracle.minutes.len();
                }
                world.times.step(*to, world.now);
                Occasion::Step
            }
            Happening::Reply => {
                if oracle.replied_at.is_some() || world.status == Status::Closed {
                    continue;
                }
                oracle.replied_at = Some(oracle.minutes.len());
                world.times.timeline.first_replied_at = Some(world.now);
                Occasion::Step
            }
            Happening::Priority(priority) => {
                let same = world.traits.priority == *priority;
                world.traits.priority = *priority;
                if same { Occasion::Step } else { Occasion::Ticket }
            }
            Happening::Policy(rules) => {
                world.rules = rules.clone();
                world.version += 1;
                Occasion::Configuration
            }
            Happening::Calendar(definition) => {
                world.definition = definition.clone();
                world.version += 1;
                Occasion::Configuration
            }
        };
        world.judge(occasion);
        renew(&mut oracle, &world, occasion, report_us);
    }
    // Somebody looks, and nothing has been written since.
    world.now = Instant::from_micros(world.now.micros() + story.looks_after * MINUTE_US);
    oracle.minutes.extend(std::iter::repeat_n(world.status, usize::try_from(story.looks_after).expect("few")));
    lapse(&mut oracle, report_us);
    compare(&world, &oracle, report_us)
}

/// What was written down in the course of time needs no correction, and what is lost of it that follows from the rest
/// comes back.
fn is_right_as_written(world: &World) -> Result<(), TestCaseError> {
    let configuration = world.clone().configuration();
    let facts = TicketState {
        number: 1,
        reported_at: world.times.timeline.reported_at,
        status: world.status,
        first_replied_at: world.times.timeline.first_replied_at,
        assignee_id: None,
        traits: world.traits.clone(),
    };
    let corrected = |times: &Times| times.corrected(&facts, &configuration, &world.calendar_set, true, world.now);
    prop_assert_eq!(corrected(&world.times), world.times.clone());
    let mut damaged = world.times.clone();
    damaged.measured.service_s = damaged.measured.service_s.map(|s| s + 1);
    damaged.measured.resolution_s = None;
    prop_assert_eq!(corrected(&damaged), world.times.clone());
    if world.status != Status::Closed {
        damaged.policy_id = None;
        damaged.clocks.retain(|clock| clock.state() != ClockState::Running);
        let now =
            |times: &Times| times.clocks.iter().cloned().map(|clock| clock.at(world.now).state()).collect::<Vec<_>>();
        prop_assert_eq!(now(&corrected(&damaged)), now(&world.times));
    }
    Ok(())
}

/// What ran past its end becomes breached for good.
fn lapse(oracle: &mut Oracle, report_us: i64) {
    let live: Vec<_> = oracle.clocks.iter().map(|(target, judged)| (*target, judged.clone())).collect();
    for (target, judged) in live {
        if let Judged::Live(rule, definition) = judged
            && let (_, Some(due)) = oracle.walk(target, &rule, &definition, report_us)
        {
            let at_us = report_us + i64::try_from(due).expect("few") * MINUTE_US + 1;
            oracle.clocks.insert(target, Judged::Breached { due, at_us, rule, definition });
        }
    }
}

/// What the contract says after something has happened.
fn renew(oracle: &mut Oracle, world: &World, occasion: Occasion, report_us: i64) {
    for target in Target::ALL.iter().copied() {
        let ended = oracle.ended(target, world.status);
        match oracle.clocks.get(&target) {
            Some(Judged::Breached { .. }) => continue,
            Some(Judged::Met(_)) if ended.is_some() => continue,
            None if ended.is_some() && occasion != Occasion::Ticket => continue,
            _ => {}
        }
        let Some(rule) = rule_for(&world.rules, target, world.traits.priority) else {
            oracle.clocks.remove(&target);
            continue;
        };
        let definition = world.definition.clone();
        let judged = match (oracle.walk(target, &rule, &definition, report_us), ended) {
            ((_, Some(due)), _) => {
                let at_us = (report_us + i64::try_from(due).expect("few") * MINUTE_US + 1).max(world.now.micros());
                Judged::Breached { due, at_us, rule, definition }
            }
            (_, Some(at)) => Judged::Met(at),
            _ => Judged::Live(rule, definition),
        };
        oracle.clocks.insert(target, judged);
    }
}

fn compare(world: &World, oracle: &Oracle, report_us: i64) -> Result<(), TestCaseError> {
    is_right_as_written(world)?;
    let at = |minute: usize| Instant::from_micros(report_us + i64::try_from(minute).expect("few") * MINUTE_US);
    prop_assert_eq!(world.times.clocks.len(), oracle.clocks.len());
    for clock in &world.times.clocks {
        let clock = clock.clone().at(world.now);
        let elapsed_us = clock.elapsed_us(&world.calendar_set.measure(&clock.pledge), world.now);
        match &oracle.clocks[&clock.target] {
            Judged::Met(ended) => prop_assert_eq!(clock.progress, Progress::Met { at: at(*ended) }),
            Judged::Breached { due, at_us, rule, definition } => {
                let (counted, _) = oracle.walk(clock.target, rule, definition, report_us);
                let progress = Progress::Breached { due_at: at(*due), at: Instant::from_micros(*at_us) };
                prop_assert_eq!(clock.progress, progress);
                prop_assert_eq!(elapsed_us, counted * MINUTE_US);
            }
            Judged::Live(rule, definition) => {
                let (counted, _) = oracle.walk(clock.target, rule, definition, report_us);
                prop_assert_eq!(elapsed_us, counted * MINUTE_US);
                let counting = match clock.target {
                    Target::Response => world.status == Status::New,
                    Target::FirstReply => true,
                    Target::Service => world.status == Status::Open,
                };
                if !counting {
                    prop_assert_eq!(clock.progress, Progress::Paused);
                    continue;
                }
                let Progress::Running { due_at: Some(due_at) } = clock.progress else {
                    prop_assert!(rule.hours == Hours::Business, "only a calendar can lack time: {:?}", clock);
                    continue;
                };
                // It is due when, from here on, exactly the rest of the target has counted.
                let measure = world.calendar_set.measure(&clock.pledge);
                prop_assert_eq!(elapsed_us + measure.elapsed_us(world.now, due_at), rule.target_s * 1_000_000);
                prop_assert!(due_at >= world.now);
            }
        }
    }
    let timeline = &world.times.timeline;
    let spent: i64 = Status::ALL.iter().map(|status| timeline.in_status_us(*status, world.now)).sum();
    prop_assert_eq!(spent, world.now.micros() - report_us, "every moment is spent in one status");
    for status in Status::ALL {
        let minutes = oracle.minutes.iter().filter(|s| *s == status).count();
        prop_assert_eq!(timeline.in_status_us(*status, world.now), i64::try_from(minutes).expect("few") * MINUTE_US);
    }
    let measured = &world.times.measured;
    if let (Some(calendar), Some(business)) = (measured.service_s, measured.service_business_s) {
        prop_assert!(business <= calendar);
    }
    if let (Some(calendar), Some(business)) = (measured.resolution_s, measured.resolution_business_s) {
        prop_assert!(business <= calendar);
        prop_assert!(measured.service_s <= measured.resolution_s);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn the_clocks_are_those_of_the_oracle(story in any_story()) {
        check(&story)?;
    }

    #[test]
    fn what_is_written_down_is_read_back(story in any_story()) {
        let mut world = World::of(&story);
        world.judge(Occasion::Ticket);
        let text = serde_json::to_string(&world.times.clocks).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<Vec<SlaClock>>(&text).expect("the same"), world.times.clocks);
    }

    #[test]
    fn a_pause_adds_nothing_and_moves_the_end_by_itself(pause_min in 1i64..50_000, before_min in 0i64..500, target_min in 501i64..2_000) {
        let start = Instant::EPOCH.plus_s(1_700_000_000);
        let minutes = |n: i64| Instant::from_micros(start.micros() + n * MINUTE_US);
        let timeline = |spans: &[(Status, i64)]| Timeline {
            reported_at: start,
            spans: spans.iter().map(|(status, at)| (*status, minutes(*at))).collect(),
            first_replied_at: None,
            promised_from: None,
        };
        let pledge = Pledge {
            policy: VersionOf { id: PolicyId(Uuid::nil()), version: 1 }, priority: Priority::Normal, target_s: target_min * 60, hours: Hours::Calendar, calendar: None, notify_before_s: None,
        };
        let judge = |timeline: &Timeline| SlaClock::judge(Target::Service, pledge.clone(), &Measure::AllTime, timeline);
        let straight = judge(&timeline(&[(Status::New, 0), (Status::Open, 0)]));
        let waiting = judge(&timeline(&[(Status::New, 0), (Status::Open, 0), (Status::WaitingRequester, before_min)]));
        let back = judge(&timeline(&[
            (Status::New, 0), (Status::Open, 0), (Status::WaitingRequester, before_min), (Status::Open, before_min + pause_min),
        ]));
        prop_assert_eq!(waiting.due_at(), None);
        prop_assert_eq!(waiting.elapsed_us(&Measure::AllTime, minutes(before_min + pause_min)), before_min * MINUTE_US);
        let moved = back.due_at().map(|at| at.micros()).zip(straight.due_at().map(|at| at.micros())).map(|(b, s)| b - s);
        prop_assert_eq!(moved, Some(pause_min * MINUTE_US));
    }
}

/// As many as `PROPTEST_CASES` says, or enough for every run of the tests.
pub(crate) fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(256)
}
