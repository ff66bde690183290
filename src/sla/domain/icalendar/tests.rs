//! Files as programs write them, and files as nobody should.

use proptest::prelude::*;

use super::*;

fn now() -> Instant {
    "2026-03-02T09:00:00Z".parse().expect("an instant")
}

fn file(events: &[&str]) -> String {
    let events: String =
        events.iter().map(|event| format!("BEGIN:VEVENT\r\nUID:x\r\n{event}\r\nEND:VEVENT\r\n")).collect();
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n")
}

/// The dates and names of a file, as `2026-12-25 Christmas …`; or the places of its faults.
fn read(text: &str) -> Result<String, String> {
    match holidays(text, now()) {
        Ok(days) => Ok(days.iter().map(|(day, name)| format!("{day} {name}")).collect::<Vec<_>>().join(", ")),
        Err(faults) => Err(faults.into_iter().map(|f| f.pointer).collect::<Vec<_>>().join(" ")),
    }
}

fn event(lines: &str) -> Result<String, String> {
    read(&file(&[lines]))
}

#[test]
fn all_day_events_are_holidays() {
    for (lines, expected) in [
        ("DTSTART;VALUE=DATE:20261225\r\nSUMMARY:Christmas", "2026-12-25 Christmas"),
        ("DTSTART:20261225\r\nSUMMARY;LANGUAGE=nb:Første juledag", "2026-12-25 Første juledag"),
        ("dtstart;value=date:20261225\r\nsummary:Christmas", "2026-12-25 Christmas"),
        ("DTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261226", "2026-12-25 Holiday"),
        ("DTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261225", "2026-12-25 Holiday"),
        ("DTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261227\r\nSUMMARY:X", "2026-12-25 X, 2026-12-26 X"),
        ("DTSTART;VALUE=DATE:20281231\r\nDURATION:P2D\r\nSUMMARY:X", "2028-12-31 X, 2029-01-01 X"),
        ("DTSTART;VALUE=DATE:20261225\r\nSUMMARY:a\\, b\\; c\\nd \\\\", "2026-12-25 a, b; c d \\"),
        ("DTSTART;VALUE=DATE:20261225\r\nSUMMARY:Chris\r\n tmas\r\n  Day", "2026-12-25 Christmas Day"),
        ("DTSTART;VALUE=DATE:20261225\r\nSUMMARY:   ", "2026-12-25 Holiday"),
        (
            "DTSTART;VALUE=DATE:20261225\r\nSUMMARY:A\r\nBEGIN:VALARM\r\nTRIGGER:-PT1H\r\nSUMMARY:B\r\nDTSTART:1\r\nEND:VALARM",
            "2026-12-25 A",
        ),
        ("DTSTART:20261225T090000Z\r\nRRULE:FREQ=DAILY\r\nSTATUS:CANCELLED", ""),
    ] {
        assert_eq!(event(lines).as_deref(), Ok(expected), "{lines}");
        assert_eq!(read(&file(&[lines]).replace("\r\n", "\n")).as_deref(), Ok(expected), "{lines}, with LF");
    }
    let name = "ø".repeat(200);
    assert_eq!(event(&format!("DTSTART:20261225\r\nSUMMARY:{name}")), Ok(format!("2026-12-25 {}", "ø".repeat(100))));
    let twice = ["DTSTART:20261225\r\nSUMMARY:First", "DTSTART:20261225\r\nSUMMARY:Second"];
    assert_eq!(read(&file(&twice)).as_deref(), Ok("2026-12-25 First"));
    assert_eq!(
        read(&format!("\u{feff}{}{}", file(&[twice[0]]), file(&["DTSTART:20261226"]))).as_deref(),
        Ok("2026-12-25 First, 2026-12-26 Holiday")
    );
    assert_eq!(read(&file(&[])).as_deref(), Ok(""));
}

#[test]
fn yearly_events_are_written_out() {
    for (lines, expected) in [
        ("DTSTART:20260517\r\nRRULE:FREQ=YEARLY;COUNT=2", "2026-05-17 Holiday, 2027-05-17 Holiday"),
        ("DTSTART:20240517\r\nRRULE:FREQ=YEARLY;COUNT=3", "2025-05-17 Holiday, 2026-05-17 Holiday"),
        ("DTSTART:19000517\r\nRRULE:FREQ=YEARLY;UNTIL=20260517", "2025-05-17 Holiday, 2026-05-17 Holiday"),
        ("DTSTART:19000517\r\nRRULE:FREQ=YEARLY;UNTIL=20260516T235959Z", "2025-05-17 Holiday"),
        ("DTSTART:20160517\r\nRRULE:FREQ=YEARLY;INTERVAL=10", "2026-05-17 Holiday"),
        ("DTSTART:20200229\r\nRRULE:FREQ=YEARLY", "2028-02-29 Holiday, 2032-02-29 Holiday, 2036-02-29 Holiday"),
        // The second one was in 2024, and that is over.
        ("DTSTART:20200229\r\nRRULE:COUNT=2;FREQ=yearly", ""),
        ("DTSTART:20361231\r\nRRULE:FREQ=YEARLY", ""),
        ("DTSTART:00010101\r\nRRULE:FREQ=YEARLY;INTERVAL=32767", ""),
    ] {
        assert_eq!(event(lines).as_deref(), Ok(expected), "{lines}");
    }
    let days =
        holidays(&file(&["DTSTART:19700101\r\nDTEND:19700103\r\nRRULE:FREQ=YEARLY"]), now()).expect("a good file");
    assert_eq!(
        days.keys().map(|day| (day.year(), day.day())).collect::<Vec<_>>(),
        (2026..=2036).flat_map(|y| [(y, 1), (y, 2)]).collect::<Vec<_>>()
    );
}

#[test]
fn what_cannot_be_a_holiday_is_named_by_its_place() {
    for lines in [
        "SUMMARY:no start",
        "DTSTART:20261225T090000Z",
        "DTSTART;TZID=Europe/Oslo:20261225T090000",
        "DTSTART:20261225\r\nDTEND:20261225T100000Z",
        "DTSTART:20261301",
        "DTSTART:20270229",
        "DTSTART:2026-12-25",
        "DTSTART:",
        "DTSTART:19691231",
        "DTSTART:20261225\r\nDTSTART:20261226",
        "DTSTART:20261225\r\nDTEND:20261224",
        "DTSTART:20261225\r\nDTEND:20280101",
        "DTSTART:20261225\r\nDURATION:PT24H",
        "DTSTART:20261225\r\nDURATION:P0D",
        "DTSTART:20261225\r\nDURATION:-P1D",
        "DTSTART:20261225\r\nDURATION:P999999999999D",
        "DTSTART:20261225\r\nDURATION:P1D\r\nDTEND:20261226",
        "DTSTART:20261225\r\nRRULE:FREQ=MONTHLY",
        "DTSTART:20261225\r\nRRULE:FREQ=YEARLY;BYMONTH=12",
        "DTSTART:20261225\r\nRRULE:FREQ=YEARLY;COUNT=2;UNTIL=20301225",
        "DTSTART:20261225\r\nRRULE:FREQ=YEARLY;COUNT=0",
        "DTSTART:20261225\r\nRRULE:FREQ=YEARLY;INTERVAL=0",
        "DTSTART:20261225\r\nRRULE:FREQ=YEARLY;INTERVAL=x",
        "DTSTART:20261225\r\nRRULE:FREQ=YEARLY;FREQ=YEARLY",
        "DTSTART:20261225\r\nRRULE:YEARLY",
        "DTSTART:20261225\r\nRRULE:FREQ=YEARLY;UNTIL=never",
        "DTSTART:20261225\r\nRDATE:20261226",
        "DTSTART:20261225\r\nRRULE:FREQ=YEARLY\r\nEXDATE:20261225",
        "DTSTART:20261225\r\nRECURRENCE-ID:20261225",
    ] {
        let good = "DTSTART:20261224";
        assert_eq!(read(&file(&[good, lines, good, "DTSTART:x"])), Err("/events/1 /events/3".into()), "{lines}");
    }
    let many = vec!["DTSTART:x"; 5_000];
    assert_eq!(holidays(&file(&many), now()).map_err(|faults| faults.len()), Err(MOST_FAULTS));
    assert_eq!(event("DTSTART:20200101\r\nDURATION:P366D\r\nRRULE:FREQ=YEARLY"), Err("/events".into()));
}

#[test]
fn what_is_no_file_of_this_kind_is_refused_as_a_whole() {
    let deep = "BEGIN:VCALENDAR\n".repeat(60_000);
    for text in [
        "",
        "\r\n",
        "hello",
        "hello:world",
        "{}",
        "BEGIN:VCARD\nEND:VCARD\n",
        "BEGIN:VEVENT\nDTSTART:20261225\nEND:VEVENT\n",
        "BEGIN:VCALENDAR\n",
        "BEGIN:VCALENDAR\nEND:VEVENT\n",
        "BEGIN:VCALENDAR\nEND:VCALENDAR\nX:1\n",
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR\n",
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nno colon here\nEND:VEVENT\nEND:VCALENDAR\n",
        &deep,
    ] {
        assert_eq!(read(text), Err(String::new()), "{text:.60}");
    }
    let closed = format!("{deep}{}", "END:VCALENDAR\n".repeat(60_000));
    assert_eq!(read(&closed).as_deref(), Ok(""), "depth is no danger");
}

proptest! {
    #[test]
    fn no_text_does_harm(text: String, lines in prop::collection::vec(
        prop::sample::select(&["BEGIN:VCALENDAR", "END:VCALENDAR", "BEGIN:VEVENT", "END:VEVENT", "DTSTART", ";VALUE=DATE", ":20261225",
            ":", ";", "=", "\"", "\\", "RRULE:FREQ=YEARLY", ";COUNT=9", "DTEND:99991231", "DURATION:P9D", "\r\n", "\n", " ", "\t", "ø"][..]), 0..40)) {
        let _ = holidays(&text, now());
        let _ = holidays(&lines.concat(), now());
        let _ = holidays(&lines.join("\r\n"), now());
        let _ = holidays(&file(&[&lines.concat()]), now());
        if let Ok(days) = holidays(&file(&[&format!("DTSTART:20261225\r\nSUMMARY:{text}")]), now()) {
            for name in days.into_values() {
                prop_assert!(HolidayName::parse(name).is_ok());
            }
        }
    }

    #[test]
    fn what_is_written_is_read(days in prop::collection::btree_map((1970..=9999i16, 1..=12i8, 1..=28i8), "[a-zø ]{0,20}[a-z]", 0..20)) {
        let events: Vec<_> = days.iter().map(|((y, m, d), name)| format!("DTSTART;VALUE=DATE:{y:04}{m:02}{d:02}\r\nSUMMARY:{name}")).collect();
        let found = holidays(&file(&events.iter().map(String::as_str).collect::<Vec<_>>()), now()).expect("a good file");
        let expected: BTreeMap<_, _> = days.iter().map(|((y, m, d), name)| {
            (Date::constant(*y, *m, *d), name.split_whitespace().collect::<Vec<_>>().join(" "))
        }).collect();
        prop_assert_eq!(found, expected);
    }
}
