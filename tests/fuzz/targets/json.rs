//! Bodies as they come in: what is taken says what `serde_json` reads, and whole numbers beyond 64 bits are all found.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use skranke::kernel::fault::Faults;
use skranke::kernel::json::{Unique, find_large_wholes};

fuzz_target!(|json: &[u8]| {
    let (unique, any) = (serde_json::from_slice::<Unique>(json), serde_json::from_slice::<Value>(json));
    let Ok(Unique(value)) = unique else {
        // Refused is what is no JSON, or has two members of one name: then fewer are read than are written.
        return;
    };
    assert_eq!(Some(&value), any.as_ref().ok(), "two readers read different things");
    let mut faults = Faults::default();
    find_large_wholes(json, &mut faults);
    let again = serde_json::to_vec(&value).expect("JSON");
    let mut in_what_is_kept = Faults::default();
    find_large_wholes(&again, &mut in_what_is_kept);
    assert!(in_what_is_kept.is_empty(), "a number that is kept is none that is refused");
});
