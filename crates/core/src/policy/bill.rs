//! What a generation cost, from the records of its log.

use crate::event::{Status, Usage};
use crate::money::Money;
use crate::policy::price::{PriceTable, Tokens};
use crate::record::{Dialled, End, Record, SeamKind};

/// What is known so far of what a generation cost: all attempts at it whose usage is known are paid
/// for, those that nobody heard of too, as their providers charge for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    dialled: Vec<Dialled>,
    /// What earlier attempts used, with the numbers of these.
    before: Vec<(u32, Usage)>,
    /// The part of it that the terminal record repeats.
    repeated: Usage,
}

/// What a generation cost in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// What all attempts used.
    pub usage: Usage,
    /// What that costs.
    pub cost: Money,
}

impl Bill {
    /// The next record of the stream, or of its audit.
    pub fn push(&mut self, record: &Record) {
        match record {
            Record::Dialled(dialled) => self.dialled.push(dialled.clone()),
            Record::Abandoned(at) => {
                if let Some(usage) = &at.usage {
                    self.before.push((at.attempt, usage.clone()));
                }
            }
            // The attempt goes on.
            Record::Seam(seam) if seam.kind == SeamKind::Reattached => {}
            Record::Seam(seam) => {
                self.repeated = self.repeated.plus(&seam.usage);
                self.before.push((seam.attempt, seam.usage.clone()));
            }
            Record::Accepted(_)
            | Record::Head(_)
            | Record::Event(_)
            | Record::Leased
            | Record::End(_) => {}
        }
    }

    /// What the generation cost that ended so. One of which nothing is known to have run costs
    /// nothing, not even the price of a request.
    pub fn charge(&self, end: &End, prices: &PriceTable) -> Charge {
        let last = end.usage.less(&self.repeated);
        let ran = end.status == Status::Completed || !last.is_nothing();
        let upstream = end.upstream.as_deref().filter(|_| ran);
        let asked = upstream.and_then(|name| {
            let mut asked = self.dialled.iter().rev();
            asked.find(|asked| asked.upstream == name)
        });
        self.sum(asked, &last, prices)
    }

    /// What it has cost so far, with what its latest attempt, at `upstream`, has used.
    pub fn so_far(&self, attempt: u32, usage: &Usage, prices: &PriceTable) -> Charge {
        self.sum(self.attempt(attempt), usage, prices)
    }

    fn sum(&self, latest: Option<&Dialled>, usage: &Usage, prices: &PriceTable) -> Charge {
        let before = self.before.iter();
        let before = before.map(|(number, usage)| (self.attempt(*number), usage));
        let mut charge = Charge::default();
        for (asked, usage) in before.chain([(latest, usage)]) {
            charge.usage = charge.usage.plus(usage);
            let price = asked.and_then(|at| prices.price(&at.upstream, &at.model));
            let cost = price.map(|price| price.cost(&Tokens::from(usage)));
            charge.cost = charge.cost.plus(cost.unwrap_or_default());
        }
        charge
    }

    fn attempt(&self, number: u32) -> Option<&Dialled> {
        self.dialled.iter().rev().find(|at| at.attempt == number)
    }
}

#[cfg(test)]
mod tests;
