//! Kept numbers: whatever a database gives for them, they are read or refused, and what is read adds up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skranke::tally::domain::cells::{Costs, Counts};
use skranke::tally::domain::facts::Fact;
use skranke::tally::domain::sketch::Sketch;

fuzz_target!(|input: (&[u8], Vec<(i64, u8)>)| {
    let (bytes, seconds) = input;
    let _ = postcard::from_bytes::<Vec<Fact>>(bytes).is_ok();
    let _ = (postcard::from_bytes::<Counts>(bytes).is_ok(), postcard::from_bytes::<Costs>(bytes).is_ok());
    if let Ok(sketch) = postcard::from_bytes::<Sketch>(bytes) {
        let again = postcard::to_allocvec(&sketch).expect("memory");
        assert_eq!(postcard::from_bytes::<Sketch>(&again).ok(), Some(sketch), "what is read is written as it was");
    }
    let (mut all, mut halves) = (Sketch::default(), [Sketch::default(), Sketch::default()]);
    for (nth, (seconds, n)) in seconds.iter().enumerate() {
        let (seconds, n) = (seconds.rem_euclid(1 << 40), i64::from(*n) + 1);
        all.add(seconds, n);
        halves[nth % 2].add(seconds, n);
    }
    let [mut left, right] = halves;
    left.merge(&right, 1);
    assert_eq!(left, all, "the whole is the sum of its parts");
});
