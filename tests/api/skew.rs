//! Two changes at the same time, each of which is right by what it sees, but not beside the other: what comes of them
//! is what comes of one after the other, whichever is first.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::clocks::make_calendar;
use crate::on_both;
use crate::support::{Answer, Ask, Caller, Desk};

/// How often each pair meets.
const ROUNDS: usize = 30;

async fn both(one: Ask, other: Ask) -> (Answer, Answer) {
    tokio::join!(one.send(), other.send())
}

fn statuses(answers: &(Answer, Answer)) -> (u16, u16) {
    (answers.0.status.as_u16(), answers.1.status.as_u16())
}

/// What came of a pair of requests is one of what may come of it.
fn is_one_of(answers: &(Answer, Answer), may: &[(u16, u16)]) {
    let (one, other) = (answers.0.text(), answers.1.text());
    assert!(may.contains(&statuses(answers)), "{:?} is none of {may:?}: {one} {other}", statuses(answers));
}

async fn team(desk: &Desk, admin: &Caller) -> String {
    let new = json!({ "name": format!("Team {}", desk.nth()) });
    let team = desk.post("/v1/teams").by(admin).json(&new).expect(201).await.body;
    format!("/v1/teams/{}", team["id"].as_str().unwrap())
}

fn id_at(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

async fn members(desk: &Desk, who: &Caller, team: &str) -> BTreeSet<String> {
    let members = desk.all(who, &format!("{team}/members")).await;
    members.iter().map(|member| member["id"].as_str().unwrap().to_owned()).collect()
}

on_both! {
    async fn nobody_is_in_a_team_who_was_anonymised(desk) {
        let admin = desk.admin().await;
        let team = team(desk, &admin).await;
        for _ in 0..ROUNDS {
            let agent = desk.agent().await;
            let join = desk.put(&format!("{team}/members/{}", agent.id)).by(&admin);
            let answers = both(join, desk.delete(&format!("/v1/users/{}", agent.id)).by(&admin)).await;
            is_one_of(&answers, &[(204, 204), (409, 204)]);
            assert_eq!(members(desk, &admin, &team).await, BTreeSet::new());
        }
    }

    async fn nobody_is_in_a_team_who_has_become_a_requester(desk) {
        let admin = desk.admin().await;
        let team = team(desk, &admin).await;
        for _ in 0..ROUNDS {
            let agent = desk.agent().await;
            let path = format!("/v1/users/{}", agent.id);
            let become_ = |role: &str| desk.patch(&path).by(&admin).json(&json!({ "role": role }));
            let answers = both(desk.put(&format!("{team}/members/{}", agent.id)).by(&admin), become_("requester")).await;
            is_one_of(&answers, &[(204, 200), (409, 200)]);
            // The list shows no requesters: it is known when they are none any more.
            become_("agent").expect(200).await;
            assert_eq!(members(desk, &admin, &team).await, BTreeSet::new());
        }
    }

    async fn a_team_is_removed_with_all_its_members(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        for _ in 0..ROUNDS {
            let team = team(desk, &admin).await;
            let answers = both(desk.put(&format!("{team}/members/{}", agent.id)).by(&admin), desk.delete(&team).by(&admin)).await;
            is_one_of(&answers, &[(204, 204), (404, 204)]);
            desk.get(&team).by(&admin).refused(404, "not_found").await;
        }
    }

    async fn no_ticket_is_in_a_team_that_is_gone(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let ticket = desk.ticket(&agent, json!({})).await;
        for round in 0..ROUNDS {
            let team = team(desk, &admin).await;
            let fields = json!({ "subject": "s", "team_id": id_at(&team) });
            let (ask, done) = if round.is_multiple_of(2) {
                (desk.post("/v1/tickets"), 201)
            } else {
                (desk.patch(&format!("/v1/tickets/{}", ticket["number"])), 200)
            };
            let answers = both(ask.by(&agent).json(&fields), desk.delete(&team).by(&admin)).await;
            is_one_of(&answers, &[(done, 409), (422, 204)]);
        }
    }

    async fn no_policy_has_a_calendar_that_is_gone(desk) {
        let admin = desk.admin().await;
        for _ in 0..ROUNDS {
            let hours = json!({ "monday": [{ "from": "08:00", "to": "16:00" }] });
            let calendar = json!({ "name": format!("Calendar {}", desk.nth()), "time_zone": "UTC", "working_hours": hours });
            let calendar = make_calendar(desk, &calendar).await;
            let targets = json!([{ "target": "response", "target_s": 60, "hours": "business" }]);
            let policy = json!({ "name": format!("Policy {}", desk.nth()), "calendar_id": calendar, "targets": targets });
            let remove = desk.delete(&format!("/v1/sla/calendars/{}", calendar)).by(&admin);
            let answers = both(desk.post("/v1/sla/policies").by(&admin).json(&policy), remove).await;
            is_one_of(&answers, &[(201, 409), (422, 204)]);
        }
    }

    /// Who is no longer active is no assignee of what comes later; what came before stays as it was.
    async fn an_assignee_was_active_when_they_were_chosen(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        for _ in 0..ROUNDS {
            let other = desk.agent().await;
            let new = json!({ "subject": "s", "assignee_id": other.id });
            let leave = desk.patch(&format!("/v1/users/{}", other.id)).by(&admin).json(&json!({ "active": false }));
            let answers = both(desk.post("/v1/tickets").by(&agent).json(&new), leave).await;
            is_one_of(&answers, &[(201, 200), (422, 200)]);
            desk.post("/v1/tickets").by(&agent).json(&new).refused(422, "validation_failed").await;
        }
    }

    /// What a redaction has not removed was written after it, and nothing is found by words that are gone.
    async fn what_is_left_of_a_redacted_ticket_was_written_later(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        for _ in 0..ROUNDS {
            let ticket = desk.ticket(&agent, json!({})).await;
            let path = format!("/v1/tickets/{}", ticket["number"]);
            let word = format!("word{}", desk.nth());
            let comment = json!({ "body": word, "visibility": "internal" });
            let answers = both(desk.post(&format!("{path}/comments")).by(&agent).json(&comment), desk.delete(&path).by(&admin)).await;
            is_one_of(&answers, &[(201, 204)]);
            let place = |events: &[Value], kind: &str| events.iter().position(|event| event["type"] == kind).unwrap();
            let events = desk.all(&agent, &format!("{path}/events")).await;
            let is_later = place(&events, "comment.added") > place(&events, "ticket.redacted");
            let comments = desk.all(&agent, &format!("{path}/comments")).await;
            assert_eq!(comments[0]["body"], if is_later { word.as_str() } else { "" });
            let found = desk.all(&agent, &format!("/v1/tickets?q={word}")).await.len();
            assert_eq!(found, usize::from(is_later));
        }
    }

    async fn no_secret_of_a_revoked_account_is_good(desk) {
        let admin = desk.admin().await;
        for _ in 0..ROUNDS {
            let account = desk.account("tickets:read").await;
            let path = format!("/v1/service-accounts/{}", account.id);
            let rotate = desk.post(&format!("{path}/secret")).by(&admin);
            let answers = both(rotate, desk.delete(&path).by(&admin)).await;
            is_one_of(&answers, &[(200, 204), (409, 204)]);
            assert_eq!(desk.get(&path).by(&admin).expect(200).await.body["active"], false);
            if answers.0.status == 200 {
                let secret = answers.0.body["secret"].as_str().unwrap();
                let form = format!("grant_type=client_credentials&client_id={}&client_secret={secret}", account.id);
                desk.post("/v1/auth/token").raw("application/x-www-form-urlencoded", form).expect(401).await;
            }
        }
    }
}
