//! The use cases of imports: some lines in one transaction, each as a whole or not at all.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::domain::{ImportOutcome, Judge, Life, Lived, PastChange, PastEntry, link, put_right};
use super::store::{self, ImportedTicket};
use super::wire::{
    ImportEntry, ImportLine, ImportPerson, ImportPersonRef, ImportTicket, Imported, ImportedAs, PersonKey, ReadLine,
};
use crate::auth::domain::Role;
use crate::auth::policy::Act;
use crate::db::{Conn, Db, Root};
use crate::kernel::text::Line;
use crate::kernel::{Code, FieldError, Instant, Patch, PrincipalId, Problem, TeamId};
use crate::people::domain::{Name, NewPerson};
use crate::sla::domain::clock::Times;
use crate::sla::domain::policy::{CalendarSet, SlaConfiguration};
use crate::sla::store::{clocks, configuration};
use crate::tickets::domain::{Status, Ticket};
use crate::tickets::policy::Reach;
use crate::tickets::wire::TicketRef;
use crate::{audit, comments, people, tally, tickets, time_entries};

/// How many lines share a transaction.
pub const AT_ONCE: usize = 200;

/// Where an import comes from, and by what it is judged.
#[derive(Debug, Clone)]
pub struct ImportPlan {
    /// Where it comes from.
    pub source: String,
    /// By what it is judged.
    pub judge: Judge,
}

/// Takes some lines. Gives what became of each, in their order.
///
/// # Errors
/// `unavailable` when the database is away: what was taken until then is known when it is sent again.
pub async fn import(
    db: &Db,
    act: &Act,
    reach: Reach,
    plan: &ImportPlan,
    lines: Vec<ReadLine>,
) -> Result<Vec<Result<Imported, Problem>>, Problem> {
    match import_some(db, act, reach, plan, &lines).await {
        Ok(all) => Ok(all.into_iter().map(Ok).collect()),
        Err(problem) if problem.code().status() >= 500 => Err(problem),
        // One of them cannot be taken: the others can.
        Err(_) => {
            let mut all = Vec::with_capacity(lines.len());
            for line in &lines {
                all.push(match import_some(db, act, reach, plan, std::slice::from_ref(line)).await {
                    Ok(mut one) => one.pop().ok_or_else(|| Problem::internal("a line has no outcome")),
                    Err(problem) if problem.code().status() >= 500 => return Err(problem),
                    Err(problem) => Err(problem),
                });
            }
            Ok(all)
        }
    }
}

async fn import_some(
    db: &Db,
    act: &Act,
    reach: Reach,
    plan: &ImportPlan,
    lines: &[ReadLine],
) -> Result<Vec<Imported>, Problem> {
    if let Some(most) = kept_numbers(lines, act.now).max() {
        pass_numbers(db, most).await?;
    }
    let (act, plan, lines) = (act.clone(), plan.clone(), lines.to_vec());
    // One import of a source at a time: what one has taken the other finds.
    db.write(Root::Import(plan.source.clone()), async move |tx| {
        let act = act.in_turn();
        Batch::begin(tx, &act, reach, &plan, &lines).await?.take(tx, &lines).await
    })
    .await
}

/// The numbers that tickets are to keep.
fn kept_numbers(lines: &[ReadLine], now: Instant) -> impl Iterator<Item = i64> {
    lines.iter().filter_map(move |line| match &line.line {
        ImportLine::Ticket(ticket) if untimely(ticket, now).is_empty() => ticket.number.map(|number| number.get()),
        ImportLine::Ticket(_) | ImportLine::Person(_) => None,
    })
}

/// Lets no new ticket get a number up to `most`. While that is done nobody else writes: whoever has got one already has
/// used it.
async fn pass_numbers(db: &Db, most: i64) -> Result<(), Problem> {
    if !db.is_shared() || db.read(async move |conn| tickets::store::is_passed(conn, most).await).await? {
        return Ok(());
    }
    db.write_alone(async move |tx| tickets::store::pass_numbers(tx, most).await).await
}

/// What one transaction knows.
struct Batch<'a> {
    act: &'a Act,
    reach: Reach,
    plan: &'a ImportPlan,
    configuration: SlaConfiguration,
    calendars: CalendarSet,
    /// The edit of the configuration that the tickets will have followed.
    edit: i64,
    known: HashMap<String, ImportedTicket>,
    people: HashMap<PersonKey, PrincipalId>,
    roles: HashMap<PrincipalId, Option<Role>>,
    teams: HashMap<String, Option<TeamId>>,
    free: BTreeSet<i64>,
    next: Vec<i64>,
    indexed: Vec<i64>,
    /// The external ids of tickets that are not closed, by who has made them.
    in_use: BTreeSet<(PrincipalId, String)>,
}

impl<'a> Batch<'a> {
    async fn begin(
        tx: &mut Conn,
        act: &'a Act,
        reach: Reach,
        plan: &'a ImportPlan,
        lines: &[ReadLine],
    ) -> Result<Self, Problem> {
        let current = configuration::current(tx).await?;
        let edit = current.edit;
        let mut judging = current.as_ref().clone();
        if plan.judge == Judge::None {
            judging.policies.clear();
        }
        let names: Vec<String> = lines
            .iter()
            .filter_map(|line| match &line.line {
                ImportLine::Ticket(ticket) => Some(ticket.external_id.as_str().to_owned()),
                ImportLine::Person(_) => None,
            })
            .collect();
        let known = store::tickets(tx, &plan.source, &names).await?;
        let in_use = match names.is_empty() {
            true => BTreeSet::new(),
            false => tickets::store::external_ids_in_use(tx, &names).await?,
        };
        let wanted: Vec<i64> = kept_numbers(lines, act.now).collect();
        let free = match wanted.is_empty() {
            true => BTreeSet::new(),
            false => tickets::store::free_numbers(tx, &wanted).await?,
        };
        if let Some(most) = wanted.iter().max().filter(|_| !act_is_shared(tx)) {
            tickets::store::pass_numbers(tx, *most).await?;
        }
        // One for each new ticket that cannot keep its own: the others leave no gaps in what comes later.
        let mut left = free.clone();
        let fresh = lines.iter().filter_map(|line| match &line.line {
            ImportLine::Ticket(ticket) if !known.contains_key(ticket.external_id.as_str()) => Some(ticket),
            ImportLine::Ticket(_) | ImportLine::Person(_) => None,
        });
        let without_number =
            fresh.filter(|ticket| !ticket.number.is_some_and(|wanted| left.remove(&wanted.get()))).count();
        let mut next = match without_number {
            0 => Vec::new(),
            count => tickets::store::next_numbers(tx, count).await?,
        };
        next.reverse();
        Ok(Self {
            act,
            reach,
            plan,
            calendars: judging.calendar_set.clone(),
            configuration: judging,
            edit,
            known,
            people: HashMap::new(),
            roles: HashMap::new(),
            teams: HashMap::new(),
            free,
            next,
            indexed: Vec::new(),
            in_use,
        })
    }

    async fn take(mut self, tx: &mut Conn, lines: &[ReadLine]) -> Result<Vec<Imported>, Problem> {
        let mut all = Vec::with_capacity(lines.len());
        for line in lines {
            all.push(match &line.line {
                ImportLine::Person(person) => self.person(tx, person).await?,
                ImportLine::Ticket(ticket) => self.ticket(tx, ticket, line).await?,
            });
        }
        tickets::service::index_these_later(tx, &self.indexed).await?;
        Ok(all)
    }

    async fn person(&mut self, tx: &mut Conn, person: &ImportPerson) -> Result<Imported, Problem> {
        let ImportPerson { email, external_id, name, role, active } = person;
        if email.is_none() && external_id.is_none() {
            return Err(Problem::field("/person/email", "required", "is required, or external_id"));
        }
        let key = PersonKey::of(email.as_ref(), external_id.as_ref());
        let external_id = key.external_id.clone();
        let (id, outcome) = match self.find(tx, &key).await? {
            Some(id) => (id, ImportOutcome::Unchanged),
            None => {
                let new = NewPerson {
                    name: name.clone(),
                    email: email.clone(),
                    role: role.unwrap_or(Role::Requester),
                    password_hash: None,
                    hourly_rate: None,
                };
                let is_active = active.unwrap_or(true);
                let person = people::service::create_known_person(tx, new, is_active, self.act).await?;
                (person.id, ImportOutcome::Created)
            }
        };
        if let Some(name) = &external_id
            && store::person(tx, &self.plan.source, name).await?.is_some_and(|known| known != id)
        {
            let detail = "The email address is that of one person here, and the external_id that of another.";
            return Err(Problem::new(Code::Conflict, detail));
        }
        self.remember(tx, &key, id).await?;
        let mut mended = Vec::new();
        if let (ImportOutcome::Unchanged, Some(Some(here))) = (outcome, self.roles.get(&id))
            && role.is_some_and(|role| role != *here)
        {
            mended.push(format!("is here already as {here}, and stays that"));
        }
        Ok(Imported { outcome, what: ImportedAs::Person(id), external_id, mended })
    }

    /// Whoever is meant, if they are known: by the address, else by what they are called there.
    async fn find(&mut self, tx: &mut Conn, key: &PersonKey) -> Result<Option<PrincipalId>, Problem> {
        if let Some(id) = self.people.get(key) {
            return Ok(Some(*id));
        }
        let by_email = match &key.email {
            Some(email) => people::store::users::by_email(tx, email).await?.map(|person| person.id),
            None => None,
        };
        match (by_email, &key.external_id) {
            (None, Some(external_id)) => store::person(tx, &self.plan.source, external_id).await,
            (found, _) => Ok(found),
        }
    }

    async fn remember(&mut self, tx: &mut Conn, key: &PersonKey, id: PrincipalId) -> Result<(), Problem> {
        if self.people.insert(key.clone(), id).is_some() {
            return Ok(());
        }
        if let Some(external_id) = &key.external_id
            && store::person(tx, &self.plan.source, external_id).await?.is_none()
        {
            store::put_person(tx, &self.plan.source, external_id, id).await?;
        }
        if !self.roles.contains_key(&id) {
            self.roles.extend(store::roles(tx, vec![id]).await?);
        }
        Ok(())
    }

    /// Whoever is meant, who is made a requester when unknown.
    async fn someone(
        &mut self,
        tx: &mut Conn,
        whom: &ImportPersonRef,
        place: impl Fn() -> String,
    ) -> Result<PrincipalId, Problem> {
        let key = PersonKey::of(whom.email.as_ref(), whom.external_id.as_ref());
        if let Some(id) = self.people.get(&key) {
            return Ok(*id);
        }
        if key == PersonKey::default() {
            return Err(Problem::field(&place(), "required", "must have an email or an external_id"));
        }
        let id = match self.find(tx, &key).await? {
            Some(id) => id,
            None => {
                let called = whom.name.as_ref().map(|name| name.as_str());
                let called = called.or_else(|| key.email.as_ref()?.split('@').next()).or(key.external_id.as_deref());
                let short: String = called.unwrap_or_default().chars().take(200).collect();
                let name = Name::parse(short).map_err(|fault| Problem::invalid(vec![fault.at(place())]))?;
                let (email, role) = (whom.email.clone(), Role::Requester);
                let new = NewPerson { name, email, role, password_hash: None, hourly_rate: None };
                people::service::create_known_person(tx, new, true, self.act).await?.id
            }
        };
        self.remember(tx, &key, id).await?;
        Ok(id)
    }

    async fn team(
        &mut self,
        tx: &mut Conn,
        name: &Line<200>,
        mended: &mut Vec<String>,
    ) -> Result<Option<TeamId>, Problem> {
        let name = name.as_str();
        let team = match self.teams.get(name) {
            Some(team) => *team,
            None => {
                let team = people::store::teams::by_name(tx, name).await?;
                self.teams.insert(name.to_owned(), team);
                team
            }
        };
        if team.is_none() {
            mended.push(format!("there is no team called {name:?}: left out"));
        }
        Ok(team)
    }

    /// An agent or admin; nobody, if whoever is meant is neither.
    async fn agent(
        &mut self,
        tx: &mut Conn,
        key: &ImportPersonRef,
        place: impl Fn() -> String,
        mended: &mut Vec<String>,
    ) -> Result<Option<PrincipalId>, Problem> {
        let id = self.someone(tx, key, place).await?;
        let works = matches!(self.roles.get(&id), Some(Some(Role::Agent | Role::Admin)));
        if !works {
            mended.push("somebody who is no agent is left out where only agents can be".to_owned());
        }
        Ok(works.then_some(id))
    }

    async fn ticket(&mut self, tx: &mut Conn, new: &ImportTicket, line: &ReadLine) -> Result<Imported, Problem> {
        let name = new.external_id.as_str();
        let mut entries: Vec<(ImportEntry, &Value)> = new.timeline.0.iter().cloned().zip(line.entries.iter()).collect();
        entries.sort_by_key(|(entry, _)| entry.at);
        let mut links = vec![link("", &line.head)];
        for (_, written) in &entries {
            links.push(link(links.last().map_or("", String::as_str), written));
        }
        let digest = links.last().cloned().unwrap_or_default();
        let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
        let entries: Vec<ImportEntry> = entries.into_iter().map(|(entry, _)| entry).collect();
        if let Some(known) = self.known.get(name).cloned() {
            let taken = usize::try_from(known.entries).unwrap_or(usize::MAX);
            if links.get(taken) != Some(&known.digest) {
                let detail = "This ticket was imported with another past. What was taken once is not changed.";
                return Err(Problem::new(Code::Conflict, detail).with("number", known.number));
            }
            return self.go_on(tx, name, known, (entries, taken), digest, count).await;
        }
        let mut mended = Vec::new();
        let faults = untimely(new, self.act.now);
        if !faults.is_empty() {
            return Err(Problem::invalid(faults));
        }
        // A clock that is a little fast is taken for right.
        let reported_at = new.reported_at.min(self.act.now);
        let created_at = new.created_at.unwrap_or(reported_at).min(self.act.now);
        if !new.timeline.0.is_sorted_by_key(|entry| entry.at) {
            mended.push("entries were put into the order of their instants".to_owned());
        }
        // First of all, since a requester is named in full here.
        let requester_id = match &new.requester {
            Some(key) => Some(self.someone(tx, key, || "/ticket/requester".into()).await?),
            None => None,
        };
        let mut past = self.past(tx, entries, &mut mended).await?;
        mended.extend(put_right(&mut past));
        let created_by = match &new.created_by {
            Some(key) => Some(self.someone(tx, key, || "/ticket/created_by".into()).await?),
            None => past.iter().find_map(|entry| entry.actor),
        };
        let created_by = created_by.or(requester_id).unwrap_or(self.act.who.id);
        if !self.roles.contains_key(&created_by) {
            self.roles.extend(store::roles(tx, vec![created_by]).await?);
        }
        let team_id = match &new.team {
            Some(team) => self.team(tx, team, &mut mended).await?,
            None => None,
        };
        let assignee_id = match &new.assignee {
            Some(key) => self.agent(tx, key, || "/ticket/assignee".into(), &mut mended).await?,
            None => None,
        };
        let is_free = self.in_use.insert((created_by, name.to_owned()));
        if !is_free {
            mended.push("its external_id is that of another ticket of whoever typed it in".to_owned());
        }
        let number = self.number(new, &mut mended)?;
        let opened = Ticket::new(self.act.id(), new.subject.as_str().to_owned(), created_by, created_at);
        let opened = Ticket {
            number,
            description: new.description.as_ref().map(|text| text.as_str().to_owned()).unwrap_or_default(),
            priority: new.priority.unwrap_or(opened.priority),
            kind: new.kind.unwrap_or(opened.kind),
            channel: new.channel.unwrap_or(opened.channel),
            team_id,
            assignee_id,
            requester_id,
            external_id: is_free.then(|| name.to_owned()),
            tags: new.tags.clone().unwrap_or_default().0,
            custom_fields: new.custom_fields.clone().unwrap_or_default().without_nulls(),
            reported_at,
            ..opened
        };
        let judge = (&self.configuration, &self.calendars);
        let mut life = Life::begin(opened, judge, &self.roles, &self.act.clock);
        for entry in past {
            life.live(entry)?;
        }
        let (ticket, mut times, lived) = (life.ticket, life.times, life.lived);
        self.promise(&mut times);
        tickets::store::insert_past(tx, &ticket, self.edit).await?;
        clocks::insert(tx, number, &times, ticket.created_at).await?;
        let trail = self.keep(tx, &ticket, &lived, (0, 0)).await?;
        let known = ImportedTicket { number, entries: count, digest, trail };
        store::put_ticket(tx, &self.plan.source, name, &known).await?;
        self.known.insert(name.to_owned(), known);
        mended.extend(lived.mended);
        Ok(Imported {
            outcome: ImportOutcome::Created,
            what: ImportedAs::Ticket(ticket.id, number),
            external_id: Some(name.to_owned()),
            mended,
        })
    }

    /// What is promised of a ticket that nobody had promised anything about.
    fn promise(&self, times: &mut Times) {
        if self.plan.judge == Judge::None {
            times.timeline.promised_from = Some(self.act.now);
        }
    }

    /// The number of a new ticket: its own, if that is free.
    fn number(&mut self, new: &ImportTicket, mended: &mut Vec<String>) -> Result<i64, Problem> {
        if let Some(wanted) = new.number {
            if self.free.remove(&wanted.get()) {
                return Ok(wanted.get());
            }
            mended.push(format!("the number {} is taken", wanted.get()));
        }
        self.next.pop().ok_or_else(|| Problem::internal("there is no number left"))
    }

    /// The entries of a past, with ids in place of names.
    async fn past(
        &mut self,
        tx: &mut Conn,
        entries: Vec<ImportEntry>,
        mended: &mut Vec<String>,
    ) -> Result<Vec<PastEntry>, Problem> {
        let mut past = Vec::with_capacity(entries.len());
        for (nth, entry) in entries.into_iter().enumerate() {
            let at = |field: &'static str| move || format!("/ticket/timeline/{nth}/{field}");
            let mut actor = match &entry.actor {
                Some(key) => Some(self.someone(tx, key, at("actor")).await?),
                None => None,
            };
            if entry.work_s.is_some()
                && let Some(id) = actor
                && !matches!(self.roles.get(&id), Some(Some(Role::Agent | Role::Admin)))
            {
                mended.push("work of somebody who is no agent is left out".to_owned());
                actor = if entry.comment.is_some() { actor } else { None };
            }
            let works = actor.is_some_and(|id| matches!(self.roles.get(&id), Some(Some(Role::Agent | Role::Admin))));
            let change = PastChange {
                status: entry.status.map(|status| status.0),
                subject: entry.subject.map(Line::into_inner),
                description: entry.description.map(|text| text.into_inner()),
                priority: entry.priority,
                kind: entry.kind,
                channel: entry.channel,
                team_id: match &entry.team {
                    Patch::Absent => Patch::Absent,
                    Patch::Null => Patch::Null,
                    Patch::Value(name) => self.team(tx, name, mended).await?.map_or(Patch::Absent, Patch::Value),
                },
                assignee_id: match &entry.assignee {
                    Patch::Absent => Patch::Absent,
                    Patch::Null => Patch::Null,
                    Patch::Value(key) => {
                        let agent = self.agent(tx, key, at("assignee"), mended).await?;
                        agent.map_or(Patch::Absent, Patch::Value)
                    }
                },
                requester_id: match &entry.requester {
                    Patch::Absent => Patch::Absent,
                    Patch::Null => Patch::Null,
                    Patch::Value(key) => Patch::Value(self.someone(tx, key, at("requester")).await?),
                },
                tags: entry.tags.map(|tags| tags.0),
                custom_fields: entry.custom_fields,
            };
            past.push(PastEntry {
                at: entry.at.min(self.act.now),
                actor,
                comment: entry.comment.map(|comment| (comment.visibility, comment.body.into_inner())),
                change,
                work: entry.work_s.filter(|_| works).map(|s| (s.get(), entry.note.map(|note| note.into_inner()))),
            });
        }
        Ok(past)
    }

    /// Takes what a ticket has of its past besides what was taken, if nothing has happened to it here.
    async fn go_on(
        &mut self,
        tx: &mut Conn,
        name: &str,
        known: ImportedTicket,
        (entries, taken): (Vec<ImportEntry>, usize),
        digest: String,
        count: i64,
    ) -> Result<Imported, Problem> {
        let before = tickets::store::find(tx, &self.reach, TicketRef::Number(known.number)).await?;
        let imported = |outcome, mended| Imported {
            outcome,
            what: ImportedAs::Ticket(before.id, known.number),
            external_id: Some(name.to_owned()),
            mended,
        };
        if entries.len() <= taken {
            return Ok(imported(ImportOutcome::Unchanged, Vec::new()));
        }
        if before.status == Status::Closed {
            let detail = "This ticket was closed when it was imported, and a closed one does not go on.";
            return Err(Problem::new(Code::Conflict, detail).with("number", known.number));
        }
        let (trail, edited_b) = audit::store::end_of_trail(tx, before.id).await?;
        if trail != known.trail {
            let detail = "Something has happened to this ticket here since it was imported: its past is over.";
            return Err(Problem::new(Code::Conflict, detail).with("number", known.number));
        }
        let mut faults = Vec::new();
        for (nth, entry) in entries.iter().enumerate().skip(taken) {
            told(entry.at, &format!("/ticket/timeline/{nth}/at"), self.act.now, &mut faults);
        }
        if !faults.is_empty() {
            return Err(Problem::invalid(faults));
        }
        let mut mended = Vec::new();
        let more = entries.into_iter().skip(taken).collect();
        let mut past = self.past(tx, more, &mut mended).await?;
        mended.extend(put_right(&mut past));
        let (was, followed) = clocks::find(tx, &before.state()).await?;
        let calendars = configuration::calendar_set(tx, was.calendars()).await?;
        let judge = (&self.configuration, &calendars);
        let mut life = Life::go_on(before.clone(), was.clone(), judge, &self.roles, &self.act.clock);
        for entry in past {
            life.live(entry)?;
        }
        let (ticket, mut times, lived) = (life.ticket, life.times, life.lived);
        self.promise(&mut times);
        tickets::store::update(tx, &before, &ticket).await?;
        if let Some(at) = ticket.internal_at.filter(|_| ticket.internal_at != before.internal_at) {
            tickets::store::set_internal_at(tx, ticket.number, at).await?;
        }
        if times != was {
            clocks::update(tx, ticket.number, &was, &times).await?;
        }
        if followed < self.edit {
            return Err(Problem::transient("the ticket has still to follow an edit of policies"));
        }
        let trail = self.keep(tx, &ticket, &lived, (trail, edited_b)).await?;
        let known = ImportedTicket { entries: count, digest, trail, ..known };
        store::move_ticket(tx, &self.plan.source, name, &known).await?;
        let number = known.number;
        self.known.insert(name.to_owned(), known);
        mended.extend(lived.mended);
        Ok(Imported {
            outcome: ImportOutcome::Continued,
            what: ImportedAs::Ticket(ticket.id, number),
            external_id: Some(name.to_owned()),
            mended,
        })
    }

    /// Stores what was lived; gives how many entries the trail has then.
    async fn keep(
        &mut self,
        tx: &mut Conn,
        ticket: &Ticket,
        lived: &Lived,
        (mut trail, mut edited_b): (i64, i64),
    ) -> Result<i64, Problem> {
        let (clock, now) = (&self.act.clock, self.act.now);
        let mut said = if trail == 0 { 0 } else { comments::store::last_number(tx, ticket.id).await? };
        for comment in &lived.comments {
            said += 1;
            comments::store::insert_past(tx, comment, said).await?;
        }
        for event in &lived.events {
            trail += 1;
            edited_b = audit::store::add_past(tx, event, (trail, edited_b), clock, now).await?;
        }
        for (entry, groups) in &lived.work {
            time_entries::store::insert(tx, entry, groups).await?;
        }
        tally::store::add(tx, clock.id(now), &lived.sums, &lived.facts).await?;
        self.indexed.push(ticket.number);
        Ok(trail)
    }
}

/// Whether the numbers of tickets are given by a sequence that others use, too.
fn act_is_shared(tx: &Conn) -> bool {
    !tickets::store::is_sqlite(tx)
}

/// What is wrong with the instants of a ticket.
fn untimely(new: &ImportTicket, now: Instant) -> Vec<FieldError> {
    let mut faults = Vec::new();
    told(new.reported_at, "/ticket/reported_at", now, &mut faults);
    if let Some(created_at) = new.created_at {
        told(created_at, "/ticket/created_at", now, &mut faults);
        if created_at < new.reported_at {
            faults.push(FieldError::new("/ticket/created_at", "invalid", "must not be before reported_at"));
        }
    }
    for (nth, entry) in new.timeline.0.iter().enumerate() {
        told(entry.at, &format!("/ticket/timeline/{nth}/at"), now, &mut faults);
    }
    faults
}

/// An instant of the past.
fn told(at: Instant, place: &str, now: Instant, faults: &mut Vec<FieldError>) {
    faults.extend(at.by_senders_clock(now).err().map(|fault| fault.at(place)));
}
