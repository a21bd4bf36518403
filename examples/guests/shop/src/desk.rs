//! The desk where somebody must agree to a document.

use lovage_guest::{data, info, task};

/// Something that needs an approval.
#[data]
pub(crate) struct Document {
    title: String,
    author: String,
    approver: String,
}

/// Asks the approver to look at a document.
#[task]
pub(crate) fn ask(document: Document) {
    info!("asked {} about \"{}\" by {}", document.approver, document.title, document.author);
}

/// Asks again.
#[task]
pub(crate) fn remind(document: Document, reminder: u32) {
    info!("reminder {reminder} to {} about \"{}\"", document.approver, document.title);
}

/// Files a document, and says where.
#[task]
pub(crate) fn file(document: Document, drawer: String) -> String {
    let name = document.title.to_lowercase().replace(' ', "-");
    format!("{drawer}/{name}.pdf")
}
