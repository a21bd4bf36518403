//! Payouts: transfers that a bank takes its time for.

use lovage_guest::{Failure, attempt, data, info, task};

/// How many looks at a transfer find it pending.
const LOOKS_PENDING: u32 = 3;

/// A transfer that was handed in.
#[data]
pub(crate) struct Transfer {
    transfer: String,
    account: String,
}

/// How far it is.
#[data]
pub(crate) struct Status {
    status: String,
}

/// Hands a transfer in, and returns its number at once.
#[task]
pub(crate) fn transfer(account: String, cents: u64) -> Transfer {
    let transfer = format!("T-{}", cents % 10_000);
    info!("handed in {transfer}: {cents} cents to {account}");
    Transfer { transfer, account }
}

/// Asks the bank how far a transfer is: it is pending at first, then settled, or bounced where the account is closed.
#[task]
pub(crate) fn transfer_status(transfer: Transfer) -> Result<Status, Failure> {
    let look = look();
    if look == 1 && attempt().number == 1 {
        return Err(Failure::retryable("the bank's gateway timed out"));
    }
    let status = match transfer.account.as_str() {
        _ if look < LOOKS_PENDING => "pending",
        "closed" => "bounced",
        _ => "settled",
    };
    info!("look {}: {} is {status}", look + 1, transfer.transfer);
    Ok(Status { status: status.to_owned() })
}

/// The number of the poll, from 0. The stand-in has neither clock nor memory, but its step's id ends in `_<number>`; a real bank
/// knows by itself how far it is.
fn look() -> u32 {
    let step = attempt().step.as_deref().unwrap_or_default();
    step.rsplit('_').next().and_then(|number| number.parse().ok()).unwrap_or(LOOKS_PENDING)
}
