//! Short texts in paths, queries and settings. What is taken and said again is taken again, and means the same.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use skranke::db::DatabaseUrl;
use skranke::http::cursor::Cursor;
use skranke::kernel::money::Currency;
use skranke::kernel::text::{Email, Line, Prose};
use skranke::kernel::{Instant, Status, TicketId};
use skranke::sla::domain::calendar::TimeOfDay;
use skranke::sla::domain::calendars::{Day, ZoneName};
use skranke::tickets::domain::listing::SlaFilter;
use skranke::tickets::domain::reference::TicketRef;

fn said_again<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(taken) = text.parse::<T>() {
        assert_eq!(taken.to_string().parse::<T>().ok().as_ref(), Some(&taken), "{text:?} is said as {taken}");
    }
}

fuzz_target!(|text: &str| {
    said_again::<Instant>(text);
    said_again::<Currency>(text);
    said_again::<TimeOfDay>(text);
    said_again::<TicketId>(text);
    said_again::<Status>(text);
    let _ = (text.parse::<TicketRef>().is_ok(), text.parse::<SlaFilter>().is_ok(), text.parse::<DatabaseUrl>().is_ok());
    let _ = (text.parse::<Day>().is_ok(), text.parse::<ZoneName>().is_ok());
    let _ = text.parse::<Cursor>().map(|cursor| cursor.open::<(i64, i64)>("tickets"));
    let _ = (Line::<200>::parse(text.to_owned()).is_ok(), Prose::<1, 65_536>::parse(text.to_owned()).is_ok());
    if let Ok(email) = Email::parse(text.to_owned()) {
        assert!(Email::parse(email.as_str().to_owned()).is_ok_and(|again| again == email), "{text:?}");
    }
});
