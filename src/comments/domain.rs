//! What comments are like. Pure.

use crate::kernel::words::words;

words! {
    /// The order of a list of comments; `-` for descending.
    #[derive(Default)]
    pub enum CommentOrder {
        /// Oldest first.
        #[default]
        Created = "created_at",
        /// Newest first.
        CreatedDesc = "-created_at",
    }
}
