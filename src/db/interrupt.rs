//! Ends statements of SQLite for which nobody waits any more. While it works, SQLite asks every now and then whether to
//! go on. What the thread is doing answers it, so that no connection has to be told anything.
#![allow(unsafe_code, reason = "diesel has no call for SQLite's progress handler; these two are all that is needed")]

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};
use std::future::poll_fn;
use std::pin::pin;
use std::ptr;
use std::sync::{Arc, Once};

use libsqlite3_sys as ffi;

/// How many steps of its virtual machine SQLite takes before it asks; a search takes few for what it reads.
const STEPS: c_int = 200;

/// Says whether work is to be ended.
pub type IsOver = Arc<dyn Fn() -> bool + Send + Sync>;

thread_local! {
    /// Whether the work that this thread does right now is to be ended.
    static WATCH: RefCell<Option<IsOver>> = const { RefCell::new(None) };
}

/// Has every connection that is opened from now on ask.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: `attach` has the type that SQLite calls, and is there for as long as the process.
        let code = unsafe { ffi::sqlite3_auto_extension(Some(attach)) };
        if code != ffi::SQLITE_OK {
            tracing::error!(code, "statements of SQLite cannot be ended");
        }
    });
}

/// Does `work`, whose statements on SQLite fail as soon as `is_over` says so.
pub async fn watched<T>(is_over: IsOver, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        let _outer = Outer(WATCH.replace(Some(is_over.clone())));
        work.as_mut().poll(context)
    })
    .await
}

/// What was watched before, and is again when this is dropped.
struct Outer(Option<IsOver>);

impl Drop for Outer {
    fn drop(&mut self) {
        WATCH.set(self.0.take());
    }
}

/// Called by SQLite with each connection that it opens.
extern "C" fn attach(conn: *mut ffi::sqlite3, _: *mut *mut c_char, _: *const ffi::sqlite3_api_routines) -> c_int {
    // SAFETY: SQLite has just opened `conn`. `ask` takes nothing of what it is given, so that nothing has to outlive
    // it.
    unsafe { ffi::sqlite3_progress_handler(conn, STEPS, Some(ask), ptr::null_mut()) };
    ffi::SQLITE_OK
}

/// Called by SQLite while it works: anything but 0 ends the statement.
extern "C" fn ask(_: *mut c_void) -> c_int {
    // A thread that ends, or that is just being told, is doing no such work.
    let is_over =
        WATCH.try_with(|watch| watch.try_borrow().is_ok_and(|watch| watch.as_ref().is_some_and(|over| over())));
    c_int::from(is_over.unwrap_or(false))
}
