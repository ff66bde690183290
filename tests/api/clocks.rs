//! The clocks of tickets, told as timelines: what happens when, and how the clocks stand then. Every number is worked
//! out by hand; the comments say how. 2 March 2026 is a Monday. Oslo is one hour ahead of UTC in winter, two in summer.

use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Caller, Desk, Engine};

/// Monday to Friday, 8 to 16 in Oslo: 7 to 15 UTC in winter.
fn office() -> Value {
    let day = json!([{ "from": "08:00", "to": "16:00" }]);
    json!({ "name": "Office", "time_zone": "Europe/Oslo",
        "working_hours": { "monday": day, "tuesday": day, "wednesday": day, "thursday": day, "friday": day } })
}

/// A new calendar.
pub async fn make_calendar(desk: &Desk, calendar: &Value) -> String {
    let admin = desk.admin().await;
    let made = desk.post("/v1/sla/calendars").by(&admin).json(calendar).expect(201).await;
    made.body["id"].as_str().unwrap().to_owned()
}

/// A desk with an agent, a requester, and one policy; and one ticket after the other on it.
struct Stage<'a> {
    desk: &'a Desk,
    admin: Caller,
    agent: Caller,
    ada: Caller,
}

impl<'a> Stage<'a> {
    async fn bare(desk: &'a Desk) -> Self {
        Self { desk, admin: desk.admin().await, agent: desk.agent().await, ada: desk.requester().await }
    }

    /// With a policy for all tickets that promises `targets`: what, how long, of which hours.
    async fn with(desk: &'a Desk, calendar: Option<&str>, targets: &[(&str, i64, &str)]) -> Self {
        let stage = Self::bare(desk).await;
        stage.policy("Everything", calendar, json!({}), targets).await;
        stage
    }

    async fn policy(
        &self,
        name: &str,
        calendar: Option<&str>,
        condition: Value,
        targets: &[(&str, i64, &str)],
    ) -> Value {
        let body = json!({ "name": name, "calendar_id": calendar, "condition": condition, "targets": rules(targets) });
        self.desk.post("/v1/sla/policies").by(&self.admin).json(&body).expect(201).await.body
    }

    async fn edit(&self, policy: &Value, patch: Value) -> Value {
        let path = format!("/v1/sla/policies/{}", policy["id"].as_str().unwrap());
        self.desk.patch(&path).by(&self.admin).json(&patch).expect(200).await.body
    }

    fn at(&self, instant: &str) -> &Self {
        self.desk.clock.go_to(instant);
        self
    }

    /// An agent types in what the requester reports.
    async fn report(&self, fields: Value) -> Value {
        let mut body = json!({ "requester_id": self.ada.id });
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.desk.ticket(&self.agent, body).await
    }

    async fn set(&self, ticket: &Value, patch: Value) {
        self.desk.patch_ticket(&self.agent, ticket, patch).await;
    }

    async fn status(&self, ticket: &Value, status: &str) {
        self.set(ticket, json!({ "status": status })).await;
    }

    async fn comment(&self, who: &Caller, ticket: &Value) {
        let path = format!("/v1/tickets/{}/comments", ticket["number"]);
        let body = json!({ "visibility": "public", "body": "…" });
        self.desk.post(&path).by(who).json(&body).expect(201).await;
    }

    /// The clocks of a ticket, one line each; and that their explanation agrees with them.
    async fn clocks(&self, ticket: &Value) -> Vec<String> {
        let read = self.desk.read_ticket(&self.agent, ticket).await;
        let told = self.told(ticket).await;
        let clocks = read["clocks"].as_array().unwrap();
        assert_eq!(told["clocks"].as_array().unwrap().len(), clocks.len());
        for (clock, told) in clocks.iter().zip(told["clocks"].as_array().unwrap()) {
            for (name, value) in clock.as_object().unwrap() {
                assert_eq!(&told[name], value, "{name} is told as it is");
            }
            check_segments(&read, told);
        }
        clocks.iter().map(line).collect()
    }

    async fn told(&self, ticket: &Value) -> Value {
        let path = format!("/v1/tickets/{}/sla", ticket["number"]);
        self.desk.get(&path).by(&self.agent).expect(200).await.body
    }

    /// The durations of a ticket in calendar and business seconds.
    async fn durations(&self, ticket: &Value) -> String {
        let read = self.desk.read_ticket(&self.agent, ticket).await;
        let one = |name: &str| match &read["durations"][name] {
            Value::Null => format!("{name} -"),
            both => format!("{name} {}/{}", both["calendar_s"], both["business_s"]),
        };
        ["response", "first_reply", "service", "resolution"].map(one).join(", ")
    }
}

fn rules(targets: &[(&str, i64, &str)]) -> Vec<Value> {
    let rule = |(what, target_s, hours): &(&str, i64, &str)| {
        // `response urgent` is about urgent tickets alone.
        let (target, priority) =
            what.split_once(' ').map_or((*what, None), |(target, priority)| (target, Some(priority)));
        json!({ "target": target, "priority": priority, "target_s": target_s, "hours": hours })
    };
    targets.iter().map(rule).collect()
}

/// A clock in a line.
fn line(clock: &Value) -> String {
    let text = |name: &str| clock[name].as_str().unwrap_or("-");
    let number = |name: &str| clock[name].as_i64().unwrap();
    assert_eq!(number("remaining_s"), number("target_s") - number("elapsed_s"));
    assert_eq!(clock["hours"] == "business", clock["calendar_id"].is_string());
    let calendar = clock["calendar_version"].as_i64().map_or(String::new(), |version| format!(" c{version}"));
    let mut line = format!(
        "{} v{}{calendar} {} {} of {}",
        text("target"),
        number("policy_version"),
        text("state"),
        number("elapsed_s"),
        number("target_s"),
    );
    for (name, word) in [("due_at", "due"), ("met_at", "at"), ("breached_at", "since")] {
        if let Some(at) = clock[name].as_str() {
            line.push_str(&format!(" {word} {}", at.strip_prefix("2026-").unwrap()));
        }
    }
    line
}

/// The segments begin with the report, have no gaps, end with the clock, and add up.
fn check_segments(ticket: &Value, told: &Value) {
    let segments = told["segments"].as_array().unwrap();
    let sum: i64 = segments.iter().map(|segment| segment["elapsed_s"].as_i64().unwrap()).sum();
    assert_eq!(told["elapsed_s"], sum, "{told}");
    for pair in segments.windows(2) {
        assert_eq!(pair[0]["to"], pair[1]["from"], "{told}");
    }
    if let [first, .., last] | [first @ last] = segments.as_slice() {
        assert_eq!(first["from"], ticket["reported_at"]);
        let end = match told["target"].as_str().unwrap() {
            "response" => "started_at",
            "first_reply" => "first_replied_at",
            _ => "resolved_at",
        };
        assert_eq!(last["to"], ticket[end], "{told}");
    }
}

const HOUR: i64 = 3600;

on_both! {
    /// A requester ends the wait for somebody to begin by no longer needing it, in time or too late; what was late
    /// stays so.
    async fn a_requester_who_solves_it_makes_no_promise_kept_that_was_broken(desk) {
        let stage = Stage::with(desk, None, &[("response", 900, "calendar"), ("first_reply", HOUR, "calendar")]).await;
        let (early, late) = (stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await, stage.report(json!({})).await);
        for ticket in [&early, &late] {
            let path = format!("/v1/tickets/{}", ticket["number"]);
            desk.patch(&path).by(&stage.ada).json(&json!({ "status": "open" })).refused(403, "forbidden").await;
        }
        stage.at("2026-03-02T09:10:00.000000Z");
        desk.patch_ticket(&stage.ada, &early, json!({ "status": "resolved" })).await;
        stage.at("2026-03-02T09:20:00.000000Z");
        desk.patch_ticket(&stage.ada, &late, json!({ "status": "resolved" })).await;
        let reply = "first_reply v1 running 1200 of 3600 due 03-02T10:00:00.000000Z";
        assert_eq!(stage.clocks(&early).await, ["response v1 met 600 of 900 at 03-02T09:10:00.000000Z", reply]);
        let broken = "response v1 breached 1200 of 900 due 03-02T09:15:00.000000Z since 03-02T09:15:00.000001Z";
        assert_eq!(stage.clocks(&late).await, [broken, reply]);
        // To bring it back, and to solve it once more, mends nothing.
        stage.at("2026-03-02T09:30:00.000000Z");
        desk.patch_ticket(&stage.ada, &late, json!({ "status": "open" })).await;
        desk.patch_ticket(&stage.ada, &late, json!({ "status": "resolved" })).await;
        assert_eq!(stage.clocks(&late).await[0], broken);
    }

    async fn the_plainest_life(desk) {
        let targets = [("response", 900, "calendar"), ("first_reply", HOUR, "calendar"), ("service", 4 * HOUR, "calendar")];
        let stage = Stage::with(desk, None, &targets).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        assert_eq!(ticket["clocks"].as_array().unwrap().iter().map(line).collect::<Vec<_>>(), [
            "response v1 running 0 of 900 due 03-02T09:15:00.000000Z",
            "first_reply v1 running 0 of 3600 due 03-02T10:00:00.000000Z",
            "service v1 paused 0 of 14400",
        ]);
        // Assigning is no work: all that runs goes on.
        stage.at("2026-03-02T09:05:00.000000Z").set(&ticket, json!({ "assignee_id": stage.agent.id })).await;
        stage.at("2026-03-02T09:10:00.000000Z").comment(&stage.agent, &ticket).await;
        stage.at("2026-03-02T09:30:00.000000Z").status(&ticket, "resolved").await;
        stage.at("2026-03-02T12:00:00.000000Z");
        assert_eq!(stage.clocks(&ticket).await, [
            "response v1 met 600 of 900 at 03-02T09:10:00.000000Z",
            "first_reply v1 met 600 of 3600 at 03-02T09:10:00.000000Z",
            "service v1 met 1200 of 14400 at 03-02T09:30:00.000000Z",
        ]);
        // Without a calendar, all time is business time.
        assert_eq!(stage.durations(&ticket).await, "response 600/600, first_reply 600/600, service 1200/1200, resolution 1800/1800");
    }

    async fn a_pause_over_a_weekend(desk) {
        let office = make_calendar(desk, &office()).await;
        let stage = Stage::with(desk, Some(&office), &[("service", 4 * HOUR, "business")]).await;
        let ticket = stage.at("2026-03-06T13:00:00.000000Z").report(json!({})).await;
        // Friday 14:30 in Oslo: an hour and a half until 16:00, the other two and a half on Monday from 8:00.
        stage.at("2026-03-06T13:30:00.000000Z").status(&ticket, "open").await;
        assert_eq!(stage.clocks(&ticket).await, ["service v1 c1 running 0 of 14400 due 03-09T09:30:00.000000Z"]);
        stage.at("2026-03-06T14:00:00.000000Z").status(&ticket, "waiting_requester").await;
        stage.at("2026-03-08T12:00:00.000000Z");
        assert_eq!(stage.clocks(&ticket).await, ["service v1 c1 paused 1800 of 14400"]);
        // Monday 8:30 in Oslo, with three and a half hours left.
        stage.at("2026-03-09T07:30:00.000000Z").status(&ticket, "open").await;
        stage.at("2026-03-09T09:30:00.000000Z");
        assert_eq!(stage.clocks(&ticket).await, ["service v1 c1 running 9000 of 14400 due 03-09T11:00:00.000000Z"]);
        stage.status(&ticket, "resolved").await;
        // Open for half an hour and for two. From Friday 13:00 to Monday 9:30 are 68.5 hours, of which two on Friday
        // and two and a half on Monday are business time.
        assert_eq!(stage.durations(&ticket).await, "response 1800/1800, first_reply -, service 9000/9000, resolution 246600/16200");
    }

    async fn a_pause_moves_the_end_by_just_its_length(desk) {
        let stage = Stage::with(desk, None, &[("service", HOUR, "calendar")]).await;
        let ticket = stage.report(json!({})).await;
        stage.status(&ticket, "open").await;
        stage.at("2026-03-02T09:10:00.250001Z").status(&ticket, "waiting_third_party").await;
        // Three and a half seconds, and a microsecond.
        stage.at("2026-03-02T09:10:03.750002Z").status(&ticket, "open").await;
        assert_eq!(stage.clocks(&ticket).await, ["service v1 running 600 of 3600 due 03-02T10:00:03.500001Z"]);
        stage.at("2026-03-02T10:00:03.500001Z");
        assert_eq!(stage.clocks(&ticket).await, ["service v1 running 3600 of 3600 due 03-02T10:00:03.500001Z"]);
        stage.at("2026-03-02T10:00:03.500002Z");
        assert_eq!(stage.clocks(&ticket).await, ["service v1 breached 3600 of 3600 due 03-02T10:00:03.500001Z since 03-02T10:00:03.500002Z"]);
    }

    async fn a_pause_and_then_another_priority(desk) {
        let stage = Stage::with(desk, None, &[("service", HOUR, "calendar"), ("service urgent", 1200, "calendar")]).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        stage.status(&ticket, "open").await;
        stage.at("2026-03-02T09:10:00.000000Z").status(&ticket, "waiting_requester").await;
        stage.at("2026-03-02T09:20:00.000000Z").set(&ticket, json!({ "priority": "urgent" })).await;
        // What had counted before the pause is kept, and the pause too.
        assert_eq!(stage.clocks(&ticket).await, ["service v1 paused 600 of 1200"]);
        stage.at("2026-03-02T09:30:00.000000Z").comment(&stage.ada, &ticket).await;
        stage.at("2026-03-02T09:35:00.000000Z");
        assert_eq!(stage.clocks(&ticket).await, ["service v1 running 900 of 1200 due 03-02T09:40:00.000000Z"]);
    }

    async fn still_waiting_at_the_deadline(desk) {
        let stage = Stage::with(desk, None, &[("service", HOUR, "calendar")]).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        stage.status(&ticket, "open").await;
        stage.at("2026-03-02T09:30:00.000000Z").status(&ticket, "waiting_requester").await;
        stage.at("2026-03-02T11:00:00.000000Z");
        assert_eq!(stage.clocks(&ticket).await, ["service v1 paused 1800 of 3600"]);
        stage.at("2026-03-02T11:30:00.000000Z").status(&ticket, "resolved").await;
        assert_eq!(stage.clocks(&ticket).await, ["service v1 met 1800 of 3600 at 03-02T11:30:00.000000Z"]);
    }

    async fn reopened_after_a_week_it_runs_again(desk) {
        let stage = Stage::with(desk, None, &[("service", HOUR, "calendar")]).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        stage.status(&ticket, "open").await;
        stage.at("2026-03-02T09:30:00.000000Z").status(&ticket, "resolved").await;
        assert_eq!(stage.clocks(&ticket).await, ["service v1 met 1800 of 3600 at 03-02T09:30:00.000000Z"]);
        stage.at("2026-03-09T09:00:00.000000Z").status(&ticket, "open").await;
        assert_eq!(stage.clocks(&ticket).await, ["service v1 running 1800 of 3600 due 03-09T09:30:00.000000Z"]);
        assert_eq!(stage.durations(&ticket).await, "response 0/0, first_reply -, service -, resolution -");
        stage.at("2026-03-09T09:20:00.000000Z").status(&ticket, "resolved").await;
        assert_eq!(stage.clocks(&ticket).await, ["service v1 met 3000 of 3600 at 03-09T09:20:00.000000Z"]);
        // Seven days and twenty minutes.
        assert_eq!(stage.durations(&ticket).await, "response 0/0, first_reply -, service 3000/3000, resolution 606000/606000");
        // And once more, for longer than is left.
        stage.at("2026-03-10T08:00:00.000000Z").status(&ticket, "open").await;
        stage.at("2026-03-10T08:15:00.000000Z").status(&ticket, "resolved").await;
        assert_eq!(stage.clocks(&ticket).await, ["service v1 breached 3900 of 3600 due 03-10T08:10:00.000000Z since 03-10T08:10:00.000001Z"]);
    }

    async fn reported_on_a_holiday(desk) {
        let mut calendar = office();
        calendar["holidays"] = json!([{ "date": "2026-03-03", "name": "Founder's Day" }]);
        let office = make_calendar(desk, &calendar).await;
        let stage = Stage::with(desk, Some(&office), &[("response", HOUR, "business")]).await;
        let ticket = stage.at("2026-03-03T09:00:00.000000Z").report(json!({})).await;
        // Nothing on Tuesday; an hour on Wednesday from 8:00 in Oslo.
        assert_eq!(stage.clocks(&ticket).await, ["response v1 c1 running 0 of 3600 due 03-04T08:00:00.000000Z"]);
        stage.at("2026-03-04T07:30:00.000000Z");
        assert_eq!(stage.clocks(&ticket).await, ["response v1 c1 running 1800 of 3600 due 03-04T08:00:00.000000Z"]);
    }

    async fn opened_and_solved_outside_hours(desk) {
        let office = make_calendar(desk, &office()).await;
        let stage = Stage::with(desk, Some(&office), &[("response", 60, "business"), ("service", 60, "business")]).await;
        // A Saturday.
        let ticket = stage.at("2026-03-07T10:00:00.000000Z").report(json!({})).await;
        stage.at("2026-03-07T11:00:00.000000Z").status(&ticket, "open").await;
        stage.at("2026-03-07T12:00:00.000000Z").status(&ticket, "resolved").await;
        assert_eq!(stage.clocks(&ticket).await, [
            "response v1 c1 met 0 of 60 at 03-07T11:00:00.000000Z",
            "service v1 c1 met 0 of 60 at 03-07T12:00:00.000000Z",
        ]);
        assert_eq!(stage.durations(&ticket).await, "response 3600/0, first_reply -, service 3600/0, resolution 7200/0");
    }

    async fn an_hour_that_the_clocks_skip_and_one_that_they_repeat(desk) {
        let night = json!({ "name": "Office", "time_zone": "Europe/Oslo", "working_hours": {
            "sunday": [{ "from": "00:00", "to": "08:00" }], "monday": [{ "from": "08:00", "to": "16:00" }] } });
        let night = make_calendar(desk, &night).await;
        // On 29 March 2:00 is 3:00: the eight hours of Sunday are seven, and end at 6:00 UTC.
        let stage = Stage::with(desk, Some(&night), &[("response", 7 * HOUR, "business"), ("first_reply", 7 * HOUR + 1, "business")]).await;
        let ticket = stage.at("2026-03-28T12:00:00.000000Z").report(json!({})).await;
        assert_eq!(stage.clocks(&ticket).await, [
            "response v1 c1 running 0 of 25200 due 03-29T06:00:00.000000Z",
            // Monday 8:00:01, in summer time.
            "first_reply v1 c1 running 0 of 25201 due 03-30T06:00:01.000000Z",
        ]);
        // On 25 October 3:00 is 2:00 again: they are nine, from 22:00 to 7:00 UTC.
        let all = stage.desk.all(&stage.agent, "/v1/sla/policies").await;
        stage.edit(&all[0], json!({ "targets": rules(&[("response", 9 * HOUR, "business"), ("first_reply", 9 * HOUR + 1, "business")]) })).await;
        let ticket = stage.at("2026-10-24T12:00:00.000000Z").report(json!({})).await;
        assert_eq!(stage.clocks(&ticket).await, [
            "response v2 c1 running 0 of 32400 due 10-25T07:00:00.000000Z",
            // Monday 8:00:01, in winter time.
            "first_reply v2 c1 running 0 of 32401 due 10-26T07:00:01.000000Z",
        ]);
        stage.at("2026-10-25T02:00:00.000000Z");
        assert_eq!(stage.clocks(&ticket).await[0], "response v2 c1 running 14400 of 32400 due 10-25T07:00:00.000000Z");
    }

    async fn a_policy_that_is_edited_in_mid_flight(desk) {
        let stage = Stage::bare(desk).await;
        let policy = stage.policy("One", None, json!({}), &[("response", HOUR, "calendar"), ("service", HOUR, "calendar")]).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        let (waiting, late) = (stage.report(json!({})).await, stage.report(json!({ "reported_at": "2026-03-02T07:00:00.000000Z" })).await);
        stage.at("2026-03-02T09:10:00.000000Z").status(&ticket, "open").await;
        stage.at("2026-03-02T09:20:00.000000Z");
        stage.edit(&policy, json!({ "name": "Two", "targets": rules(&[("response", 60, "calendar"), ("service", 2 * HOUR, "calendar")]) })).await;
        // What has ended keeps what judged it; what runs is judged from its zero, and what was broken by that is so
        // from now.
        assert_eq!(stage.clocks(&ticket).await, [
            "response v1 met 600 of 3600 at 03-02T09:10:00.000000Z",
            "service v2 running 600 of 7200 due 03-02T11:10:00.000000Z",
        ]);
        assert_eq!(stage.clocks(&waiting).await, [
            "response v2 breached 1200 of 60 due 03-02T09:01:00.000000Z since 03-02T09:20:00.000000Z",
            "service v2 paused 0 of 7200",
        ]);
        assert_eq!(stage.clocks(&late).await, [
            "response v1 breached 8400 of 3600 due 03-02T08:00:00.000000Z since 03-02T09:00:00.000000Z",
            "service v2 paused 0 of 7200",
        ]);
        let told = stage.told(&ticket).await;
        assert_eq!(told["policy"], json!({ "id": policy["id"], "name": "Two", "version": 2 }));
        assert_eq!([&told["clocks"][0]["policy_name"], &told["clocks"][1]["policy_name"]], ["One", "Two"]);
    }

    async fn a_report_that_is_back_dated(desk) {
        let stage = Stage::with(desk, None, &[("response", HOUR, "calendar"), ("first_reply", 4 * HOUR, "calendar")]).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({ "reported_at": "2026-03-02T07:00:00.000000Z" })).await;
        // It was due before anybody could know of it: it is breached since it was typed in.
        assert_eq!(stage.clocks(&ticket).await, [
            "response v1 breached 7200 of 3600 due 03-02T08:00:00.000000Z since 03-02T09:00:00.000000Z",
            "first_reply v1 running 7200 of 14400 due 03-02T11:00:00.000000Z",
        ]);
        let told = stage.told(&ticket).await;
        assert_eq!(told["clocks"][0]["why"], "Breached at 2026-03-02T09:00:00.000000Z by what changed then: by that it was due at \
            2026-03-02T08:00:00.000000Z already, and has not ended; 7200 of 3600 s have counted.");
    }

    async fn only_an_agent_who_is_not_the_requester_replies(desk) {
        let stage = Stage::with(desk, None, &[("response", HOUR, "calendar"), ("first_reply", HOUR, "calendar")]).await;
        let script = desk.account("tickets:read comments:write").await;
        // An agent opens it for a requester: that is no reply, and no work.
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        // One who has a problem is a requester, agent or not.
        let own = desk.ticket(&stage.agent, json!({})).await;
        stage.at("2026-03-02T09:10:00.000000Z").comment(&script, &ticket).await;
        stage.comment(&stage.ada, &ticket).await;
        stage.comment(&stage.agent, &own).await;
        for ticket in [&ticket, &own] {
            assert_eq!(stage.clocks(ticket).await, [
                "response v1 running 600 of 3600 due 03-02T10:00:00.000000Z",
                "first_reply v1 running 600 of 3600 due 03-02T10:00:00.000000Z",
            ]);
        }
        stage.at("2026-03-02T09:20:00.000000Z").comment(&stage.agent, &ticket).await;
        stage.at("2026-03-02T09:30:00.000000Z").comment(&stage.agent, &ticket).await;
        assert_eq!(stage.clocks(&ticket).await, [
            "response v1 met 1200 of 3600 at 03-02T09:20:00.000000Z",
            "first_reply v1 met 1200 of 3600 at 03-02T09:20:00.000000Z",
        ]);
    }

    async fn what_is_breached_stays_so_at_a_lower_priority(desk) {
        let stage = Stage::with(desk, None, &[("response urgent", 600, "calendar"), ("response", 2 * HOUR, "calendar")]).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({ "priority": "urgent" })).await;
        stage.at("2026-03-02T09:20:00.000000Z").set(&ticket, json!({ "priority": "low" })).await;
        assert_eq!(stage.clocks(&ticket).await, ["response v1 breached 1200 of 600 due 03-02T09:10:00.000000Z since 03-02T09:10:00.000001Z"]);
        stage.at("2026-03-02T09:30:00.000000Z").status(&ticket, "open").await;
        stage.at("2026-03-02T09:40:00.000000Z");
        assert_eq!(stage.clocks(&ticket).await, ["response v1 breached 1800 of 600 due 03-02T09:10:00.000000Z since 03-02T09:10:00.000001Z"]);
        // Lowered in time, the other promise holds.
        let ticket = stage.report(json!({ "priority": "urgent" })).await;
        stage.at("2026-03-02T09:50:00.000000Z").set(&ticket, json!({ "priority": "low" })).await;
        assert_eq!(stage.clocks(&ticket).await, ["response v1 running 600 of 7200 due 03-02T11:40:00.000000Z"]);
    }

    async fn a_priority_that_is_raised_too_late(desk) {
        let stage = Stage::with(desk, None, &[("response urgent", 600, "calendar"), ("response", 2 * HOUR, "calendar")]).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        stage.at("2026-03-02T09:20:00.000000Z").set(&ticket, json!({ "priority": "urgent" })).await;
        // A moment ago nothing was breached, so it is from now on.
        stage.at("2026-03-02T09:25:00.000000Z");
        assert_eq!(stage.clocks(&ticket).await, ["response v1 breached 1500 of 600 due 03-02T09:10:00.000000Z since 03-02T09:20:00.000000Z"]);
    }

    async fn team_and_tags_select_another_policy(desk) {
        let stage = Stage::bare(desk).await;
        let team = desk.post("/v1/teams").by(&stage.admin).json(&json!({ "name": "First line" })).expect(201).await.body;
        stage.policy("Team", None, json!({ "team_ids": [team["id"]] }), &[("response", 600, "calendar")]).await;
        stage.policy("Tag", None, json!({ "tags": ["vip", "royal"] }), &[("response", 1200, "calendar")]).await;
        stage.policy("Questions on the phone", None, json!({ "types": ["question"], "channels": ["phone", "chat"] }), &[("response", 1800, "calendar")]).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({ "tags": ["a"] })).await;
        assert_eq!(stage.clocks(&ticket).await, Vec::<String>::new());
        let told = stage.told(&ticket).await;
        assert_eq!((&told["policy"], &told["why"]), (&Value::Null, &json!("No policy's condition holds for the ticket as it is now.")));
        stage.at("2026-03-02T09:01:00.000000Z");
        for (patch, policy, clock) in [
            (json!({ "type": "question", "channel": "chat" }), Some("Questions on the phone"), Some("response v1 running 60 of 1800 due 03-02T09:30:00.000000Z")),
            (json!({ "tags": ["a", "royal"] }), Some("Tag"), Some("response v1 running 60 of 1200 due 03-02T09:20:00.000000Z")),
            (json!({ "team_id": team["id"] }), Some("Team"), Some("response v1 running 60 of 600 due 03-02T09:10:00.000000Z")),
            (json!({ "team_id": null, "tags": null }), Some("Questions on the phone"), Some("response v1 running 60 of 1800 due 03-02T09:30:00.000000Z")),
            (json!({ "channel": "email" }), None, None),
        ] {
            stage.set(&ticket, patch).await;
            assert_eq!(stage.clocks(&ticket).await, clock.into_iter().collect::<Vec<_>>());
            assert_eq!(stage.told(&ticket).await["policy"]["name"].as_str(), policy);
        }
    }

    async fn a_policy_that_is_removed(desk) {
        let stage = Stage::bare(desk).await;
        let targets = [("response", HOUR, "calendar"), ("first_reply", 600, "calendar"), ("service", HOUR, "calendar")];
        let first = stage.policy("First", None, json!({ "priorities": ["high"] }), &targets).await;
        let second = stage.policy("Second", None, json!({}), &[("service", 2 * HOUR, "calendar")]).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({ "priority": "high" })).await;
        stage.at("2026-03-02T09:10:00.000000Z").status(&ticket, "open").await;
        let before = desk.read_ticket(&stage.agent, &ticket).await;
        stage.at("2026-03-02T09:20:00.000000Z");
        desk.delete(&format!("/v1/sla/policies/{}", first["id"].as_str().unwrap())).by(&stage.admin).expect(204).await;
        // What has ended stays; the rest has what the next policy promises, or nothing.
        let ended = [
            "response v1 met 600 of 3600 at 03-02T09:10:00.000000Z",
            "first_reply v1 breached 1200 of 600 due 03-02T09:10:00.000000Z since 03-02T09:10:00.000001Z",
        ];
        assert_eq!(stage.clocks(&ticket).await, [ended[0], ended[1], "service v1 running 600 of 7200 due 03-02T11:10:00.000000Z"]);
        let told = stage.told(&ticket).await;
        assert_eq!(told["policy"]["name"], "Second");
        assert_eq!([0, 1, 2].map(|nth| told["clocks"][nth]["policy_name"].clone()), ["First", "First", "Second"]);
        let after = desk.read_ticket(&stage.agent, &ticket).await;
        assert_eq!(after["version"].as_i64(), before["version"].as_i64().map(|version| version + 1));
        desk.delete(&format!("/v1/sla/policies/{}", second["id"].as_str().unwrap())).by(&stage.admin).expect(204).await;
        assert_eq!(stage.clocks(&ticket).await, ended);
        assert_eq!(stage.told(&ticket).await["policy"], Value::Null);
    }

    async fn a_calendar_that_is_edited_in_mid_flight(desk) {
        let calendar = make_calendar(desk, &office()).await;
        let stage = Stage::with(desk, Some(&calendar), &[("response", 4 * HOUR, "business"), ("first_reply", 600, "business")]).await;
        // 10:00 in Oslo.
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        assert_eq!(stage.clocks(&ticket).await[0], "response v1 c1 running 0 of 14400 due 03-02T13:00:00.000000Z");
        stage.at("2026-03-02T10:00:00.000000Z");
        let mut short = office();
        short["working_hours"]["monday"] = json!([{ "from": "08:00", "to": "12:00" }]);
        desk.patch(&format!("/v1/sla/calendars/{calendar}")).by(&stage.admin).json(&short).expect(200).await;
        // Until noon two hours count, and two on Tuesday from 8:00.
        stage.at("2026-03-02T12:00:00.000000Z");
        assert_eq!(stage.clocks(&ticket).await, [
            "response v1 c2 running 7200 of 14400 due 03-03T09:00:00.000000Z",
            // It was breached by the calendar of then, which still counts for it.
            "first_reply v1 c1 breached 10800 of 600 due 03-02T09:10:00.000000Z since 03-02T09:10:00.000001Z",
        ]);
        let told = stage.told(&ticket).await;
        assert_eq!((&told["clocks"][0]["calendar_name"], &told["clocks"][0]["time_zone"]), (&json!("Office"), &json!("Europe/Oslo")));
        assert_eq!(told["clocks"][0]["segments"][0]["why"], "Working hours count, by version 2 of the calendar “Office”: nobody had begun to work on it.");
    }

    async fn a_reply_at_the_very_end_is_in_time_and_a_microsecond_later_not(desk) {
        let stage = Stage::with(desk, None, &[("first_reply", HOUR, "calendar"), ("response", HOUR, "calendar")]).await;
        let (just, late) = (stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await, stage.report(json!({})).await);
        stage.at("2026-03-02T10:00:00.000000Z").comment(&stage.agent, &just).await;
        desk.clock.pass_us(1);
        stage.comment(&stage.agent, &late).await;
        stage.at("2026-03-02T11:00:00.000000Z");
        assert_eq!(stage.clocks(&just).await, [
            "response v1 met 3600 of 3600 at 03-02T10:00:00.000000Z",
            "first_reply v1 met 3600 of 3600 at 03-02T10:00:00.000000Z",
        ]);
        assert_eq!(stage.clocks(&late).await, [
            "response v1 breached 3600 of 3600 due 03-02T10:00:00.000000Z since 03-02T10:00:00.000001Z",
            "first_reply v1 breached 3600 of 3600 due 03-02T10:00:00.000000Z since 03-02T10:00:00.000001Z",
        ]);
    }

    async fn several_cycles(desk) {
        let stage = Stage::with(desk, None, &[("service", HOUR, "calendar")]).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        for (at, status) in [
            ("09:00", "open"), ("09:10", "waiting_requester"), ("09:40", "open"), ("09:55", "waiting_third_party"), ("10:30", "waiting_requester"),
            ("10:55", "open"), ("11:00", "resolved"),
        ] {
            stage.at(&format!("2026-03-02T{at}:00Z")).status(&ticket, status).await;
        }
        // Open for 10, 15 and 5 minutes; waiting for 30 and 25, and for 35.
        assert_eq!(stage.clocks(&ticket).await, ["service v1 met 1800 of 3600 at 03-02T11:00:00.000000Z"]);
        assert_eq!(stage.durations(&ticket).await, "response 0/0, first_reply -, service 1800/1800, resolution 7200/7200");
        let read = desk.read_ticket(&stage.agent, &ticket).await;
        assert_eq!(read["durations"]["in_status_s"], json!({ "new": 0, "open": 1800, "waiting_requester": 3300,
            "waiting_third_party": 2100, "resolved": 0, "closed": 0 }));
        let told = stage.told(&ticket).await;
        let segments: Vec<_> = told["clocks"][0]["segments"].as_array().unwrap().iter()
            .map(|s| (s["status"].as_str().unwrap(), s["counts"].as_bool().unwrap(), s["elapsed_s"].as_i64().unwrap())).collect();
        assert_eq!(segments, [("open", true, 600), ("waiting_requester", false, 0), ("open", true, 900), ("waiting_third_party", false, 0),
            ("waiting_requester", false, 0), ("open", true, 300)]);
    }

    async fn solved_at_once(desk) {
        let stage = Stage::with(desk, None, &[("response", HOUR, "calendar"), ("service", HOUR, "calendar")]).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        stage.at("2026-03-02T09:05:00.000000Z").status(&ticket, "resolved").await;
        assert_eq!(stage.clocks(&ticket).await, [
            "response v1 met 300 of 3600 at 03-02T09:05:00.000000Z",
            "service v1 met 0 of 3600 at 03-02T09:05:00.000000Z",
        ]);
        assert_eq!(stage.durations(&ticket).await, "response 300/300, first_reply -, service 0/0, resolution 300/300");
    }

    async fn what_ended_before_a_policy_came_is_never_judged_by_it(desk) {
        let stage = Stage::bare(desk).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        stage.at("2026-03-02T09:10:00.000000Z").comment(&stage.agent, &ticket).await;
        stage.at("2026-03-02T09:20:00.000000Z");
        stage.policy("Late", None, json!({}), &[("response", 60, "calendar"), ("first_reply", 60, "calendar"), ("service", HOUR, "calendar")]).await;
        assert_eq!(stage.clocks(&ticket).await, ["service v1 running 600 of 3600 due 03-02T10:10:00.000000Z"]);
        // Nor by a step or a comment that follows.
        stage.at("2026-03-02T09:30:00.000000Z").status(&ticket, "waiting_requester").await;
        stage.comment(&stage.agent, &ticket).await;
        assert_eq!(stage.clocks(&ticket).await, ["service v1 paused 1200 of 3600"]);
    }

    async fn the_entity_tag_changes_when_a_clock_lapses(desk) {
        let stage = Stage::with(desk, None, &[("response", 600, "calendar"), ("first_reply", 900, "calendar")]).await;
        stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        let get = |tag: &str| desk.get("/v1/tickets/1").by(&stage.agent).header("if-none-match", tag);
        get("\"1\"").expect(304).await;
        // The seconds that pass change nothing that a tag is for.
        stage.at("2026-03-02T09:10:00.000000Z");
        get("\"1\"").expect(304).await;
        desk.clock.pass_us(1);
        assert_eq!(get("\"1\"").expect(200).await.header("etag"), Some("\"1.1\""));
        get("\"1.1\"").expect(304).await;
        stage.at("2026-03-02T09:15:00.000001Z");
        assert_eq!(get("\"1.1\"").expect(200).await.header("etag"), Some("\"1.2\""));
        // Nobody wrote meanwhile, so either tag is good for a write.
        let patch = |tag: &str, to: &str| desk.patch("/v1/tickets/1").by(&stage.agent).header("if-match", tag).json(&json!({ "subject": to }));
        patch("\"2.1\"", "a").refused(412, "version_mismatch").await;
        let written = patch("\"1.1\"", "b").expect(200).await;
        assert_eq!((written.header("etag"), &written.body["version"]), (Some("\"2.2\""), &json!(2)));
        // It does not change when that is written down, by a job or with a step: nobody sees a difference.
        assert_eq!(desk.write_down_breaches(10).await, 1);
        assert_eq!(desk.write_down_breaches(10).await, 0);
        get("\"2.2\"").expect(304).await;
        let written = desk.patch("/v1/tickets/1").by(&stage.agent).header("if-match", "\"2\"").json(&json!({ "status": "open" })).expect(200).await;
        assert_eq!(written.header("etag"), Some("\"3.2\""));
        assert_eq!(stage.clocks(&written.body).await[0], "response v1 breached 900 of 600 due 03-02T09:10:00.000000Z since 03-02T09:10:00.000001Z");
    }

    async fn lists_find_what_is_breached_or_due_and_sort_by_it(desk) {
        let stage = Stage::with(desk, None, &[
            ("response urgent", 600, "calendar"), ("response high", 1200, "calendar"), ("response", 1800, "calendar"), ("service", HOUR, "calendar"),
        ]).await;
        stage.at("2026-03-02T09:00:00.000000Z");
        // 1 is due at 9:10, 2 at 9:20, 3 and 4 at 9:30; 5 is open, due at 10:00; 6 waits, 7 is solved: nothing is due.
        for priority in ["urgent", "high", "normal", "low", "low", "low", "low"] {
            stage.report(json!({ "priority": priority })).await;
        }
        for (number, statuses) in [(5, &["open"][..]), (6, &["open", "waiting_requester"]), (7, &["resolved"])] {
            for status in statuses {
                stage.status(&json!({ "id": number.to_string() }), status).await;
            }
        }
        let found = async |query: &str| {
            let mut seen = Vec::new();
            for limit in [1, 2, 200] {
                let items = desk.all(&stage.agent, &format!("/v1/tickets?limit={limit}&{query}")).await;
                seen.push(items.iter().map(|item| item["number"].as_i64().unwrap()).collect::<Vec<_>>());
            }
            assert!(seen.iter().all(|numbers| *numbers == seen[0]), "{query} is the same by all limits: {seen:?}");
            seen.swap_remove(0)
        };
        assert_eq!(found("sort=due_at").await, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(found("sort=-due_at").await, [7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(found("sla=breached").await, [0_i64; 0]);
        // At its very end a clock still runs.
        assert_eq!(found("sort=due_at&sla=due_within:600").await, [1]);
        assert_eq!(found("sort=due_at&sla=due_within:599").await, [0_i64; 0]);
        assert_eq!(found("sort=due_at&sla=due_within:1200").await, [1, 2]);
        stage.at("2026-03-02T09:10:00.000000Z");
        assert_eq!((found("sla=breached").await, found("sla=due_within:0").await), (vec![], vec![1]));
        desk.clock.pass_us(1);
        assert_eq!((found("sla=breached").await, found("sla=due_within:0").await), (vec![1], vec![]));
        stage.at("2026-03-02T09:30:00.000000Z");
        assert_eq!(found("sla=breached&sort=created_at").await, [1, 2]);
        assert_eq!(found("sla=due_within:1800&sort=due_at").await, [3, 4, 5]);
        assert_eq!(found("sla=breached&sort=-due_at&priority=urgent").await, [1]);
        // What was late stays found; once it has ended, nothing of it is due.
        stage.status(&json!({ "id": "1" }), "resolved").await;
        assert_eq!(found("sla=breached&sort=due_at").await, [2, 1]);
        for bad in ["sla=late", "sla=due_within", "sla=due_within:-1", "sla=due_within:x", "sla=due_within:31622401", "sort=due"] {
            desk.get(&format!("/v1/tickets?{bad}")).by(&stage.agent).refused(400, "invalid_query").await;
        }
        // A requester finds what is theirs.
        assert!(desk.all(&desk.requester().await, "/v1/tickets?sla=breached").await.is_empty());
        assert_eq!(desk.all(&stage.ada, "/v1/tickets?sla=breached").await.len(), 2);
    }

    async fn an_explanation_is_for_whoever_may_see_the_ticket(desk) {
        let stage = Stage::with(desk, None, &[("response", 600, "calendar"), ("service", HOUR, "calendar")]).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        stage.at("2026-03-02T09:12:00.500000Z").status(&ticket, "open").await;
        stage.at("2026-03-02T09:20:00.000000Z");
        let path = format!("/v1/tickets/{}/sla", ticket["id"].as_str().unwrap());
        let told = desk.get(&path).by(&stage.ada).expect(200).await.body;
        let policy = &desk.all(&stage.agent, "/v1/sla/policies").await[0];
        let common = json!({ "policy_id": policy["id"], "policy_version": 1, "policy_name": "Everything", "hours": "calendar",
            "calendar_id": null, "calendar_version": null, "calendar_name": null, "time_zone": null, "met_at": null, "ended_at": null });
        let clock = |own: Value| {
            let mut clock = common.clone();
            clock.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            clock
        };
        assert_eq!(told, json!({
            "ticket": { "id": ticket["id"], "number": 1 }, "now": "2026-03-02T09:20:00.000000Z",
            "policy": { "id": policy["id"], "name": "Everything", "version": 1 },
            "why": "By position, it is the first policy whose condition holds for the ticket as it is now.",
            "clocks": [
                clock(json!({ "target": "response", "state": "breached", "target_s": 600, "due_at": "2026-03-02T09:10:00.000000Z",
                    "breached_at": "2026-03-02T09:10:00.000001Z", "ended_at": "2026-03-02T09:12:00.500000Z", "elapsed_s": 720, "remaining_s": -120,
                    "why": "Breached: it was due at 2026-03-02T09:10:00.000000Z, and ended at 2026-03-02T09:12:00.500000Z, when 720 of 600 s had counted.",
                    "segments": [{ "from": "2026-03-02T09:00:00.000000Z", "to": "2026-03-02T09:12:00.500000Z", "status": "new", "counts": true,
                        "elapsed_s": 720, "why": "Counts: nobody had begun to work on it." }] })),
                // From 9:12:00.5 to 9:20 are 479.5 seconds.
                clock(json!({ "target": "service", "state": "running", "target_s": 3600, "due_at": "2026-03-02T10:12:00.500000Z",
                    "breached_at": null, "elapsed_s": 479, "remaining_s": 3121,
                    "why": "Running: 479 of 3600 s have counted, and the rest is over at 2026-03-02T10:12:00.500000Z.",
                    "segments": [
                        { "from": "2026-03-02T09:00:00.000000Z", "to": "2026-03-02T09:12:00.500000Z", "status": "new", "counts": false,
                            "elapsed_s": 0, "why": "Does not count: nobody had begun to work on it." },
                        { "from": "2026-03-02T09:12:00.500000Z", "to": null, "status": "open", "counts": true,
                            "elapsed_s": 479, "why": "Counts: it was being worked on." },
                    ] })),
            ],
        }));
        for (path, who) in [(path.as_str(), &desk.requester().await), ("/v1/tickets/99/sla", &stage.agent)] {
            desk.get(path).by(who).refused(404, "not_found").await;
        }
        desk.get(&format!("{path}?at=now")).by(&stage.agent).refused(400, "invalid_query").await;
        // An internal comment leaves no trace.
        let internal = json!({ "visibility": "internal", "body": "…" });
        desk.post("/v1/tickets/1/comments").by(&stage.agent).json(&internal).expect(201).await;
        assert_eq!(desk.get(&path).by(&stage.ada).expect(200).await.body, told);
    }

    async fn a_closed_ticket_keeps_what_it_had(desk) {
        let stage = Stage::with(desk, None, &[("service", HOUR, "calendar")]).await;
        let ticket = stage.at("2026-03-02T09:00:00.000000Z").report(json!({})).await;
        stage.at("2026-03-02T09:10:00.000000Z").status(&ticket, "resolved").await;
        stage.status(&ticket, "closed").await;
        let clocks = stage.clocks(&ticket).await;
        let before = desk.read_ticket(&stage.agent, &ticket).await;
        let policy = desk.all(&stage.agent, "/v1/sla/policies").await.remove(0);
        desk.delete(&format!("/v1/sla/policies/{}", policy["id"].as_str().unwrap())).by(&stage.admin).expect(204).await;
        stage.at("2026-04-02T09:00:00.000000Z");
        assert_eq!((stage.clocks(&ticket).await, desk.read_ticket(&stage.agent, &ticket).await), (clocks, before));
        let told = stage.told(&ticket).await;
        assert_eq!((&told["policy"]["name"], &told["why"]), (&json!("Everything"), &json!("The ticket is closed. It keeps the policy that it had.")));
    }
}

/// A day of clocks as the bytes of the answers, with the random ids replaced by their order of appearance.
async fn transcript(desk: &Desk) -> String {
    let calendar = make_calendar(desk, &office()).await;
    let targets = [
        ("response", 1200, "business"),
        ("first_reply", HOUR, "calendar"),
        ("service urgent", 600, "calendar"),
        ("service", 7 * HOUR, "business"),
    ];
    let stage = Stage::with(desk, Some(&calendar), &targets).await;
    for priority in ["urgent", "low", "normal", "high"] {
        stage.report(json!({ "priority": priority })).await;
        desk.clock.pass_us(300_123_457);
    }
    for (number, status) in
        [(1, "open"), (2, "resolved"), (3, "open"), (3, "waiting_requester"), (1, "resolved"), (1, "open")]
    {
        stage.status(&json!({ "id": number.to_string() }), status).await;
        desk.clock.pass_us(700_999_999);
    }
    let draft = json!({ "name": "Draft", "targets": rules(&targets[1..3]) });
    let preview =
        json!({ "policy": draft, "from": "2026-03-01T00:00:00.000000Z", "to": "2026-03-03T00:00:00.000000Z" });
    let mut asks = vec![
        desk.get("/v1/tickets?sort=due_at&limit=2"),
        desk.get("/v1/tickets?sla=breached"),
        desk.get("/v1/tickets?sla=due_within:9000&sort=-due_at"),
        desk.get("/v1/sla/policies"),
        desk.post("/v1/sla/policies/preview").json(&preview),
    ];
    for number in 1..=4 {
        asks.extend([desk.get(&format!("/v1/tickets/{number}")), desk.get(&format!("/v1/tickets/{number}/sla"))]);
    }
    let mut lines = String::new();
    for ask in asks {
        let answer = ask.by(&stage.admin).expect(200).await;
        // The tag of a list is of its items, and so of their ids.
        let tag = answer.header("etag").filter(|tag| !tag.starts_with("W/"));
        lines.push_str(&format!("{tag:?} {:?} {}\n", answer.header("link"), answer.text()));
    }
    let id = regex::Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap();
    let mut known: Vec<String> = Vec::new();
    let place = |found: &regex::Captures<'_>| {
        if !known.contains(&found[0].to_owned()) {
            known.push(found[0].to_owned());
        }
        format!("#{}", known.iter().position(|known| *known == found[0]).unwrap())
    };
    id.replace_all(&lines, place).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_tell_the_same_of_clocks_to_the_byte() {
    let (sqlite, postgres) = (Desk::open(Engine::Sqlite).await, Desk::open(Engine::Postgres).await);
    let (one, two) = (transcript(&sqlite).await, transcript(&postgres).await);
    for (one, two) in one.lines().zip(two.lines()) {
        assert_eq!(one, two);
    }
    assert!(one.len() == two.len() && one.contains("\"state\":\"breached\"") && one.contains("\"state\":\"paused\""));
    sqlite.close().await;
    postgres.close().await;
}
