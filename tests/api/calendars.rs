//! Calendars: made, changed and removed by admins, each version kept, one the default, holidays from a file.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Ask, Caller, Desk};

const NOBODY: &str = "019a2f4e-7c1b-7d3e-8f00-1234567890ab";
const CALENDARS: &str = "/v1/sla/calendars";

/// The public holidays of Norway in 2026 and 2027, as a calendar program writes them: one a day, yearly ones by rule,
/// names that are folded, an alarm, a cancelled one, and an Easter of several days.
const NORWAY: &str = "BEGIN:VCALENDAR\r\nPRODID:-//Example//Helligdager//NO\r\nVERSION:2.0\r\nCALSCALE:GREGORIAN\r\nMETHOD:PUBLISH\r\n\
X-WR-CALNAME:Norske helligdager\r\nX-WR-TIMEZONE:Europe/Oslo\r\n\
BEGIN:VTIMEZONE\r\nTZID:Europe/Oslo\r\nBEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\n\
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n\
BEGIN:VEVENT\r\nUID:1@example.org\r\nDTSTAMP:20260101T000000Z\r\nDTSTART;VALUE=DATE:20000101\r\nRRULE:FREQ=YEARLY\r\nSUMMARY:Første\r\n  nyttårsdag\r\nTRANSP:TRANSPARENT\r\nEND:VEVENT\r\n\
BEGIN:VEVENT\r\nUID:2@example.org\r\nDTSTART;VALUE=DATE:20260402\r\nDTEND;VALUE=DATE:20260407\r\nSUMMARY;LANGUAGE=nb:Påske\\, alle dager\r\nEND:VEVENT\r\n\
BEGIN:VEVENT\r\nUID:3@example.org\r\nDTSTART;VALUE=DATE:20260501\r\nSUMMARY:Arbeidernes dag\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER:-PT15H\r\nDESCRIPTION:I morgen\r\nEND:VALARM\r\nEND:VEVENT\r\n\
BEGIN:VEVENT\r\nUID:4@example.org\r\nDTSTART;VALUE=DATE:20260514\r\nDURATION:P1D\r\nSUMMARY:Kristi himmelfartsdag\r\nEND:VEVENT\r\n\
BEGIN:VEVENT\r\nUID:5@example.org\r\nDTSTART;VALUE=DATE:18140517\r\nRRULE:FREQ=YEARLY;UNTIL=20270601\r\nSUMMARY:Grunnlovsdag\r\nEND:VEVENT\r\n\
BEGIN:VEVENT\r\nUID:6@example.org\r\nDTSTART:20260619T120000Z\r\nSTATUS:CANCELLED\r\nSUMMARY:Sommerfest\r\nEND:VEVENT\r\n\
BEGIN:VEVENT\r\nUID:7@example.org\r\nDTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261227\r\nRRULE:FREQ=YEARLY;COUNT=2\r\nSUMMARY:Jul\r\nEND:VEVENT\r\n\
END:VCALENDAR\r\n";

fn office() -> Value {
    let day = json!([{ "from": "08:00", "to": "16:00" }]);
    json!({ "monday": day, "tuesday": day, "wednesday": day, "thursday": day, "friday": day })
}

fn at(calendar: &Value) -> String {
    format!("{CALENDARS}/{}", calendar["id"].as_str().unwrap())
}

fn holidays(calendar: &Value) -> Vec<&str> {
    calendar["holidays"].as_array().unwrap().iter().map(|day| day["date"].as_str().unwrap()).collect()
}

/// A calendar with `fields` over an office in Oslo.
async fn make(desk: &Desk, admin: &Caller, fields: Value) -> Value {
    let mut body =
        json!({ "name": format!("calendar {}", desk.nth()), "time_zone": "Europe/Oslo", "working_hours": office() });
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    desk.post(CALENDARS).by(admin).json(&body).expect(201).await.body
}

fn import(desk: &Desk, admin: &Caller, calendar: &Value, file: &str) -> Ask {
    desk.post(&format!("{}/holidays", at(calendar))).by(admin).raw("text/calendar; charset=utf-8", file.to_owned())
}

async fn name_by_a_policy(desk: &Desk, calendar: &Value, deleted: bool) {
    let id = calendar["id"].as_str().unwrap();
    let (id, own, at, deleted_at) = match desk.db.engine() {
        "sqlite" => (
            format!("x'{}'", id.replace('-', "")),
            "randomblob(16)",
            "1".to_owned(),
            if deleted { "2" } else { "NULL" },
        ),
        _ => (format!("'{id}'"), "gen_random_uuid()", "now()".to_owned(), if deleted { "now()" } else { "NULL" }),
    };
    let sql = format!(
        "INSERT INTO sla_policies (id, name, position, calendar_id, definition, created_at, updated_at, deleted_at, version)
         VALUES ({own}, 'policy {}', 1, {id}, '{{}}', {at}, {at}, {deleted_at}, 1)",
        desk.nth()
    );
    desk.store.run(&sql).await;
}

on_both! {
    async fn an_admin_makes_reads_and_changes_calendars(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let body = json!({
            "name": "Oslo", "time_zone": "europe/oslo",
            "working_hours": { "monday": [{ "from": "08:00", "to": "12:00" }, { "from": "12:00", "to": "16:30" }], "friday": [{ "from": "22:00", "to": "06:00" }], "sunday": [] },
            "holidays": [{ "date": "2026-12-26", "name": "Boxing Day" }, { "date": "2026-12-25", "name": "Christmas Day" }],
        });
        let made = desk.post(CALENDARS).by(&admin).header("idempotency-key", "k").json(&body).expect(201).await;
        let id = made.body["id"].as_str().unwrap();
        assert_eq!(made.body, json!({
            "id": id, "name": "Oslo", "time_zone": "Europe/Oslo", "is_default": false, "weekly_s": (8 * 60 + 30 + 8 * 60) * 60,
            "working_hours": {
                "monday": [{ "from": "08:00", "to": "12:00" }, { "from": "12:00", "to": "16:30" }], "tuesday": [], "wednesday": [],
                "thursday": [], "friday": [{ "from": "22:00", "to": "06:00" }], "saturday": [], "sunday": [],
            },
            "holidays": [{ "date": "2026-12-25", "name": "Christmas Day" }, { "date": "2026-12-26", "name": "Boxing Day" }],
            "created_at": "2026-03-02T09:00:00.000000Z", "updated_at": "2026-03-02T09:00:00.000000Z", "version": 1,
        }));
        let path = at(&made.body);
        assert_eq!((made.header("location"), made.header("etag")), (Some(&*path), Some("\"1\"")));
        let again = desk.post(CALENDARS).by(&admin).header("idempotency-key", "k").json(&body).expect(201).await;
        assert_eq!((&again.bytes, again.header("idempotent-replayed")), (&made.bytes, Some("true")));
        desk.post(CALENDARS).by(&admin).json(&body).refused(409, "conflict").await;
        assert_eq!(desk.all(&agent, CALENDARS).await, std::slice::from_ref(&made.body));

        let read = desk.get(&path).by(&agent).expect(200).await;
        assert_eq!((&read.body, read.header("etag")), (&made.body, Some("\"1\"")));
        desk.get(&path).by(&agent).header("if-none-match", "\"1\"").expect(304).await;
        desk.clock.pass_s(60);
        // What is there already, in another spelling and another order, is no change.
        let same = json!({ "name": "Oslo", "time_zone": "EUROPE/OSLO", "working_hours": body["working_hours"], "holidays": body["holidays"], "is_default": false });
        assert_eq!(desk.patch(&path).by(&admin).json(&same).expect(200).await.body, made.body);
        let patch = json!({ "working_hours": { "tuesday": [{ "from": "00:00", "to": "24:00" }] }, "time_zone": "Asia/Kathmandu" });
        let changed = desk.patch(&path).by(&admin).header("if-match", "\"1\"").raw("application/merge-patch+json", patch.to_string()).expect(200).await;
        assert_eq!((&changed.body["weekly_s"], &changed.body["time_zone"], changed.header("etag")), (&json!(86400), &json!("Asia/Kathmandu"), Some("\"2\"")));
        assert_eq!((&changed.body["working_hours"]["monday"], &changed.body["holidays"]), (&json!([]), &made.body["holidays"]));
        assert_eq!((&changed.body["updated_at"], &changed.body["created_at"]), (&json!("2026-03-02T09:01:00.000000Z"), &made.body["created_at"]));
        for ask in [desk.patch(&path).json(&json!({ "name": "x" })), desk.delete(&path), desk.post(&format!("{path}/holidays")).raw("text/calendar", NORWAY)] {
            ask.by(&admin).header("if-match", "\"1\"").refused(412, "version_mismatch").await;
        }
        assert_eq!(desk.get(&path).by(&agent).expect(200).await.body, changed.body);
        let bare = desk.patch(&path).by(&admin).json(&json!({ "holidays": null })).expect(200).await.body;
        assert_eq!((&bare["holidays"], &bare["version"]), (&json!([]), &json!(3)));

        for path in [format!("{CALENDARS}/{NOBODY}"), format!("{CALENDARS}/1")] {
            desk.get(&path).by(&admin).refused(404, "not_found").await;
            desk.get(&format!("{path}/versions")).by(&admin).refused(404, "not_found").await;
            desk.patch(&path).by(&admin).json(&json!({})).refused(404, "not_found").await;
            desk.post(&format!("{path}/holidays")).by(&admin).raw("text/calendar", NORWAY).refused(404, "not_found").await;
            desk.delete(&path).by(&admin).refused(404, "not_found").await;
        }
    }

    async fn all_bad_fields_of_a_calendar_are_named_at_once(desk) {
        let admin = desk.admin().await;
        let body = json!({
            "name": "x".repeat(101), "time_zone": "Europe/Atlantis", "is_default": null, "open": true,
            "working_hours": {
                "monday": [{ "from": "08:00", "to": "16:00" }, { "from": "15:59", "to": "17:00" }],
                "tuesday": [{ "from": "08:00", "to": "08:00" }, { "from": "24:00", "to": "01:00" }],
                "saturday": [{ "from": "20:00", "to": "04:00" }], "sunday": [{ "from": "03:00", "to": "05:00" }],
            },
            "holidays": [{ "date": "2026-12-25", "name": "a" }, { "date": "2026-12-25", "name": "b" }],
        });
        let refused = desk.post(CALENDARS).by(&admin).json(&body).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), [
            "/holidays/1/date", "/is_default", "/name", "/open", "/time_zone", "/working_hours/monday", "/working_hours/sunday",
            "/working_hours/tuesday/0/to", "/working_hours/tuesday/1/from",
        ]);
        let body = json!({
            "working_hours": { "monday": [{ "from": "8:00", "to": "24:01" }, { "from": "08:00", "until": 9 }], "funday": [], "sunday": null },
            "holidays": [{ "date": "20261225", "name": "" }, { "date": "2026-02-30", "name": "a\nb" }, { "date": "1969-12-31" }],
        });
        let refused = desk.post(CALENDARS).by(&admin).json(&body).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), [
            "/holidays/0/date", "/holidays/0/name", "/holidays/1/date", "/holidays/1/name", "/holidays/2/date", "/holidays/2/name",
            "/name", "/time_zone", "/working_hours/funday", "/working_hours/monday/0/from", "/working_hours/monday/0/to",
            "/working_hours/monday/1/to", "/working_hours/monday/1/until", "/working_hours/sunday",
        ]);
        let many: Vec<_> = (0..=12).map(|hour| json!({ "from": format!("{hour:02}:00"), "to": format!("{hour:02}:30") })).collect();
        let long: Vec<_> = (1000..2001).map(|day| json!({ "date": format!("{}-{:02}-{:02}", 2000 + day / 336, day / 28 % 12 + 1, day % 28 + 1), "name": "x" })).collect();
        let body = json!({ "name": "x", "time_zone": "UTC", "working_hours": { "monday": many }, "holidays": long });
        let refused = desk.post(CALENDARS).by(&admin).json(&body).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/holidays", "/working_hours/monday"]);
        let calendar = make(desk, &admin, json!({})).await;
        let patch = json!({ "name": null, "time_zone": "Etc/Unknown", "working_hours": {}, "holidays": {}, "is_default": "no", "id": NOBODY });
        let refused = desk.patch(&at(&calendar)).by(&admin).json(&patch).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/holidays", "/id", "/is_default", "/name", "/time_zone", "/working_hours"]);
        assert!(refused.text().contains("has no working time"), "{}", refused.text());
        for nothing in [json!(null), json!({ "monday": [], "sunday": [] })] {
            let refused = desk.patch(&at(&calendar)).by(&admin).json(&json!({ "working_hours": nothing })).refused(422, "validation_failed").await;
            assert_eq!(refused.pointers(), ["/working_hours"]);
        }
        assert_eq!(desk.all(&admin, CALENDARS).await, [calendar]);
    }

    async fn every_version_is_kept(desk) {
        let (admin, script) = (desk.admin().await, desk.account("tickets:read").await);
        let calendar = make(desk, &admin, json!({ "name": "One" })).await;
        let path = at(&calendar);
        let versions = format!("{path}/versions");
        for (s, patch) in [(10, json!({ "time_zone": "UTC" })), (20, json!({ "name": "Two" })), (30, json!({ "name": "Two" })), (40, json!({ "holidays": [{ "date": "2026-12-25", "name": "x" }] }))] {
            desk.clock.pass_s(s);
            desk.patch(&path).by(&admin).json(&patch).expect(200).await;
        }
        let all = desk.all(&script, &format!("{versions}?limit=1")).await;
        let told: Vec<_> = all.iter().map(|v| (v["version"].as_i64().unwrap(), v["created_at"].as_str().unwrap(), v["time_zone"].as_str().unwrap(), holidays(v).len())).collect();
        assert_eq!(told, [
            (1, "2026-03-02T09:00:00.000000Z", "Europe/Oslo", 0), (2, "2026-03-02T09:00:10.000000Z", "UTC", 0),
            (3, "2026-03-02T09:00:30.000000Z", "UTC", 0), (4, "2026-03-02T09:01:40.000000Z", "UTC", 1),
        ]);
        let now = desk.get(&path).by(&script).expect(200).await.body;
        assert_eq!(all[3], json!({
            "version": 4, "created_at": now["updated_at"], "time_zone": now["time_zone"], "working_hours": now["working_hours"],
            "holidays": now["holidays"], "weekly_s": now["weekly_s"],
        }));
        let other = make(desk, &admin, json!({})).await;
        assert_eq!(desk.all(&script, &format!("{}/versions", at(&other))).await.len(), 1);
        let cursor = desk.get(&format!("{versions}?limit=1")).by(&script).expect(200).await.body["next_cursor"].as_str().unwrap().to_owned();
        desk.get(&format!("{}/versions?cursor={cursor}", at(&other))).by(&script).refused(400, "invalid_cursor").await;
    }

    async fn one_calendar_is_the_default(desk) {
        let admin = desk.admin().await;
        let plain = make(desk, &admin, json!({})).await;
        let first = make(desk, &admin, json!({ "is_default": true })).await;
        assert_eq!((&plain["is_default"], &first["is_default"], &first["version"]), (&json!(false), &json!(true), &json!(1)));
        desk.clock.pass_s(5);
        let second = make(desk, &admin, json!({ "is_default": true })).await;
        let former = desk.get(&at(&first)).by(&admin).expect(200).await.body;
        assert_eq!((&former["is_default"], &former["version"], &former["updated_at"]), (&json!(false), &json!(2), &second["created_at"]));
        assert_eq!(desk.all(&admin, &format!("{}/versions", at(&first))).await.len(), 2);
        let back = desk.patch(&at(&first)).by(&admin).header("if-match", "\"2\"").json(&json!({ "is_default": true })).expect(200).await.body;
        assert_eq!((&back["is_default"], &back["version"]), (&json!(true), &json!(3)));
        // Being it already is no change, and a name that is taken moves nothing.
        assert_eq!(desk.patch(&at(&first)).by(&admin).json(&json!({ "is_default": true })).expect(200).await.body, back);
        desk.patch(&at(&second)).by(&admin).json(&json!({ "is_default": true, "name": plain["name"] })).refused(409, "conflict").await;
        desk.post(CALENDARS).by(&admin).json(&json!({ "name": plain["name"], "time_zone": "UTC", "working_hours": office(), "is_default": true })).refused(409, "conflict").await;
        assert_eq!(desk.get(&at(&first)).by(&admin).expect(200).await.body, back);
        // Of many at once, one has it in the end.
        let all = [&plain, &first, &second];
        let asks = (0..12).map(|n| desk.patch(&at(all[n % 3])).by(&admin).json(&json!({ "is_default": true })).send());
        for answer in join_all(asks).await {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let is = |calendars: Vec<Value>| calendars.iter().filter(|c| c["is_default"] == true).count();
        assert_eq!(is(desk.all(&admin, CALENDARS).await), 1);
        for calendar in all {
            desk.patch(&at(calendar)).by(&admin).json(&json!({ "is_default": false })).expect(200).await;
        }
        assert_eq!(is(desk.all(&admin, CALENDARS).await), 0);
    }

    async fn a_calendar_that_no_policy_names_can_go(desk) {
        let admin = desk.admin().await;
        let used = make(desk, &admin, json!({ "is_default": true })).await;
        name_by_a_policy(desk, &used, false).await;
        desk.delete(&at(&used)).by(&admin).refused(409, "conflict").await;
        assert_eq!(desk.get(&at(&used)).by(&admin).expect(200).await.body, used);
        desk.store.run("DELETE FROM sla_policies").await;
        name_by_a_policy(desk, &used, true).await;
        desk.delete(&at(&used)).by(&admin).header("if-match", "\"1\"").expect(204).await;
        for path in [at(&used), format!("{}/versions", at(&used))] {
            desk.get(&path).by(&admin).refused(404, "not_found").await;
        }
        desk.delete(&at(&used)).by(&admin).refused(404, "not_found").await;
        assert_eq!(desk.all(&admin, CALENDARS).await, [] as [Value; 0]);
        // Its name is free again, and so is the place of the default.
        let heir = make(desk, &admin, json!({ "name": used["name"], "is_default": true })).await;
        assert_eq!(desk.all(&admin, CALENDARS).await, [heir]);
    }

    async fn holidays_come_from_a_file(desk) {
        let admin = desk.admin().await;
        let calendar = make(desk, &admin, json!({ "holidays": [{ "date": "2026-05-17", "name": "Our day" }, { "date": "2026-06-01", "name": "Moving" }] })).await;
        desk.clock.pass_s(1);
        let full = import(desk, &admin, &calendar, NORWAY).header("if-match", "\"1\"").expect(200).await;
        assert_eq!((full.header("etag"), &full.body["version"], &full.body["updated_at"]), (Some("\"2\""), &json!(2), &json!("2026-03-02T09:00:01.000000Z")));
        let in_2026: Vec<_> = holidays(&full.body).into_iter().filter(|day| day.starts_with("2026")).collect();
        assert_eq!(in_2026, [
            "2026-01-01", "2026-04-02", "2026-04-03", "2026-04-04", "2026-04-05", "2026-04-06", "2026-05-01", "2026-05-14",
            "2026-05-17", "2026-06-01", "2026-12-25", "2026-12-26",
        ]);
        let outside: Vec<_> = holidays(&full.body).into_iter().filter(|day| !day.starts_with("2026")).collect();
        assert_eq!(outside[..5], ["2025-05-17", "2027-01-01", "2027-05-17", "2027-12-25", "2027-12-26"]);
        assert_eq!(outside[5..], (2028..=2036).map(|year| format!("{year}-01-01")).collect::<Vec<_>>());
        let named = |date: &str| full.body["holidays"].as_array().unwrap().iter().find(|day| day["date"] == date).unwrap()["name"].clone();
        assert_eq!((named("2026-05-17"), named("2027-05-17")), (json!("Our day"), json!("Grunnlovsdag")));
        assert_eq!((named("2026-01-01"), named("2026-04-06")), (json!("Første nyttårsdag"), json!("Påske, alle dager")));
        desk.clock.pass_s(1);
        let again = import(desk, &admin, &calendar, &NORWAY.replace("\r\n", "\n")).expect(200).await;
        assert_eq!((&again.body, again.header("etag")), (&full.body, Some("\"2\"")));
        assert_eq!(desk.all(&admin, &format!("{}/versions", at(&calendar))).await.len(), 2);
    }

    async fn a_file_that_cannot_be_taken_changes_nothing(desk) {
        let admin = desk.admin().await;
        let calendar = make(desk, &admin, json!({})).await;
        let path = format!("{}/holidays", at(&calendar));
        let timed = NORWAY.replace("STATUS:CANCELLED\r\n", "").replace("COUNT=2", "COUNT=2;BYDAY=MO");
        let refused = import(desk, &admin, &calendar, &timed).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/events/5", "/events/6"]);
        assert!(refused.text().contains("has a time of day: 20260619T120000Z"), "{}", refused.text());
        for bad in ["", "hello", "{}", "BEGIN:VCARD\r\nEND:VCARD\r\n", &NORWAY[..NORWAY.len() - 20], &"BEGIN:VCALENDAR\n".repeat(30_000)] {
            assert_eq!(import(desk, &admin, &calendar, bad).refused(422, "validation_failed").await.pointers(), [""], "{bad:.40}");
        }
        for bytes in [b"BEGIN:VCALENDAR\xff".to_vec(), b"BEGIN:VCALENDAR\0".to_vec()] {
            let refused = desk.post(&path).by(&admin).raw("text/calendar", bytes).refused(422, "validation_failed").await;
            assert_eq!(refused.pointers(), [""]);
        }
        // A thousand fit into a calendar, those that it has included.
        let days = |from: i32, count: i32| {
            let event = |n: i32| format!("BEGIN:VEVENT\nDTSTART:{}{:02}{:02}\nEND:VEVENT\n", 2000 + n / 336, n / 28 % 12 + 1, n % 28 + 1);
            format!("BEGIN:VCALENDAR\n{}END:VCALENDAR\n", (from..from + count).map(event).collect::<String>())
        };
        assert_eq!(import(desk, &admin, &calendar, &days(0, 1001)).refused(422, "validation_failed").await.pointers(), ["/events"]);
        desk.post(&path).by(&admin).raw("text/calendar", vec![b'x'; 600_000]).refused(413, "body_too_large").await;
        for kind in ["application/json", "text/plain", "text/calendar; charset=latin1"] {
            desk.post(&path).by(&admin).raw(kind, NORWAY).refused(415, "unsupported_media_type").await;
        }
        desk.post(&format!("{path}?dry_run=1")).by(&admin).raw("text/calendar", NORWAY).refused(400, "invalid_query").await;
        assert_eq!(desk.get(&at(&calendar)).by(&admin).expect(200).await.body, calendar);
        let full = import(desk, &admin, &calendar, &days(0, 1000)).expect(200).await.body;
        assert_eq!(holidays(&full).len(), 1000);
        assert_eq!(import(desk, &admin, &calendar, &days(1, 1000)).refused(422, "validation_failed").await.pointers(), ["/events"]);
        assert_eq!(import(desk, &admin, &calendar, &days(500, 10)).expect(200).await.body, full);
    }
}
