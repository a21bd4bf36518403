//! Orders: each step of one, and what undoes it.

use lovage_guest::{Failure, attempt, data, info, task};

/// What a customer ordered.
#[data]
pub(crate) struct Order {
    id: u32,
    items: Vec<Item>,
    /// Where it goes.
    country: String,
    /// Who pays.
    customer: String,
}

#[data]
pub(crate) struct Item {
    name: String,
    quantity: u32,
    cents: u32,
}

/// Goods that are put aside.
#[data]
pub(crate) struct Reservation {
    reservation: String,
    cents: u32,
}

/// Money that was taken.
#[data]
pub(crate) struct Payment {
    payment: String,
    cents: u32,
}

/// A parcel on its way.
#[data]
pub(crate) struct Parcel {
    parcel: String,
}

/// Puts the goods of an order aside, and says what they cost.
#[task]
pub(crate) fn reserve(order: Order) -> Result<Reservation, Failure> {
    if order.items.is_empty() {
        return Err(Failure::permanent("the order is empty"));
    }
    let cents = order.items.iter().map(|item| item.quantity * item.cents).sum();
    let reservation = format!("R-{}", order.id);
    info!("reserved {} items as {reservation}", order.items.len());
    Ok(Reservation { reservation, cents })
}

/// Puts reserved goods back.
#[task]
pub(crate) fn release(reservation: String) {
    info!("released {reservation}");
}

/// Takes the money. The bank sees the idempotency key, so it is taken once, however often this is tried.
#[task]
pub(crate) fn charge(customer: String, order: u32, cents: u32) -> Payment {
    let payment = format!("P-{order}");
    info!("charged {customer} {cents} cents as {payment}, key {}", attempt().idempotency_key);
    Payment { payment, cents }
}

/// Gives the money back. The bank is busy at first, to show that what undoes a step is tried again like any task.
#[task]
pub(crate) fn refund(payment: Payment) -> Result<(), Failure> {
    if attempt().number == 1 {
        return Err(Failure::retryable("the bank is busy"));
    }
    info!("refunded {} cents of {}", payment.cents, payment.payment);
    Ok(())
}

/// Hands the goods to a courier.
#[task]
pub(crate) fn ship(order: u32, country: String) -> Result<Parcel, Failure> {
    if country == "Atlantis" {
        return Err(Failure::permanent(format_args!("no courier goes to {country}")));
    }
    info!("shipped order {order} to {country}");
    Ok(Parcel { parcel: format!("L-{order}") })
}

/// Writes to somebody.
#[task]
pub(crate) fn mail(to: String, text: String) {
    info!("mail to {to}: {text}");
}
