//! The back office of a small chain of shops: what the flows `etl`, `saga`, `approval` and `payout` call.
//!
//! A real one would speak to a warehouse, a bank and a mail server. This one only says so in its log, and behaves like them: some
//! things fail once, some for good.

mod desk;
mod orders;
mod payouts;
mod sales;

use desk::{ask, file, remind};
use orders::{charge, mail, refund, release, reserve, ship};
use payouts::{transfer, transfer_status};
use sales::{export, report, totals};

lovage_guest::export!(
    ask,
    charge,
    export,
    file,
    mail,
    refund,
    release,
    remind,
    report,
    reserve,
    ship,
    totals,
    transfer,
    transfer_status,
);
