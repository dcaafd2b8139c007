//! Reading whole states: pages of records in id order and in depth-first order, and walks below one entity.

mod record_page;
mod subtree;
mod tree_page;

pub use record_page::{RecordPage, record_page};
pub use subtree::Subtree;
pub use tree_page::{Cursor, TreePage, tree_page};
