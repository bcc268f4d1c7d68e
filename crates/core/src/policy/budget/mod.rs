//! Money: what a request costs ([`Price`]), and who may spend how much in a day or a month
//! ([`Book`]).
//!
//! All of it is whole nano-dollars; a request's cost is summed exactly and rounded up once.

mod book;
mod money;
mod period;
mod price;

pub use book::{
    Account, AccountId, Book, Crossed, Exhausted, Grant, NotSettled, Payer, Rule, Wish,
};
pub use money::{Money, MoneyError};
pub use period::{Period, Span};
pub use price::{Estimate, Price, PriceTable, Tokens};

#[cfg(test)]
mod tests;
