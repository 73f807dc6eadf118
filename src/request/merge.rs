//! Several profiles become one request: `>=` takes the larger, `<=` the smaller, contradictions are errors that name
//! both sources. The result does not depend on the order of the profiles.

use super::amount::Memory;
use super::profile::{FileWish, ObjectWish, Profile, SysctlWish};
use super::{Authority, By};
use crate::error::{Error, Result};
use crate::ipc::{Bound, SemField, Sysctl};

/// Everything that is asked for, numbers computed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// By sysctl, in the order of [`Sysctl::ALL`].
    pub sysctls: Vec<Target>,
    /// By kind, then key or name.
    pub objects: Vec<ObjectWish>,
    /// Objects whose keys nobody has looked up yet: there is no plan for them.
    pub by_file: Vec<FileWish>,
    /// What a reader should know, such as a formula that was cut at the kernel's maximum.
    pub notes: Vec<String>,
}

/// What is wanted of one sysctl.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Which.
    pub sysctl: Sysctl,
    /// A scalar is field 0; the fields of `kernel.sem` in their order.
    pub fields: [Range; 4],
}

/// What is wanted of one number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Range {
    /// Exactly this.
    pub exact: Option<Limit>,
    /// At least this.
    pub low: Option<Limit>,
    /// At most this.
    pub high: Option<Limit>,
}

/// A number and who asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit {
    /// The number.
    pub value: u64,
    /// Who asks.
    pub by: By,
}

/// A limit with its bound.
type Wanted<'l> = (Bound, &'l Limit);

impl Range {
    /// The number that satisfies the range and is nearest to `current`.
    pub fn nearest(&self, current: u64) -> u64 {
        if let Some(exact) = &self.exact {
            return exact.value;
        }
        let raised = self.low.as_ref().map_or(current, |low| current.max(low.value));
        self.high.as_ref().map_or(raised, |high| raised.min(high.value))
    }

    /// True when nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.exact.is_none() && self.low.is_none() && self.high.is_none()
    }

    /// Whose word moves `current`, or stands behind the range at all; of several, the one with most authority.
    pub fn by(&self, current: u64) -> Option<&By> {
        let to = self.nearest(current);
        let moves = |bound: &Bound| match bound {
            Bound::Exact => true,
            Bound::AtLeast => to > current,
            Bound::AtMost => to < current,
        };
        let movers = self.limits().filter(|(bound, limit)| limit.value == to && moves(bound));
        let limit = movers.map(|(_, limit)| limit).min_by_key(|limit| &limit.by);
        limit.or(self.low.as_ref()).or(self.high.as_ref()).map(|l| &l.by)
    }

    /// Everyone who asks, with what they ask.
    pub fn limits(&self) -> impl Iterator<Item = (Bound, &Limit)> {
        let tagged = |bound, limit: &Option<Limit>| limit.as_ref().map(|_| bound);
        [
            tagged(Bound::Exact, &self.exact).zip(self.exact.as_ref()),
            tagged(Bound::AtLeast, &self.low).zip(self.low.as_ref()),
            tagged(Bound::AtMost, &self.high).zip(self.high.as_ref()),
        ]
        .into_iter()
        .flatten()
    }

    /// Adds one wish; `false` when it contradicts an exact one that is there.
    fn add(&mut self, bound: Bound, limit: Limit) -> std::result::Result<(), Limit> {
        match bound {
            Bound::Exact => match &self.exact {
                Some(there) if there.value != limit.value => return Err(limit),
                Some(there) if *there <= limit => {}
                _ => self.exact = Some(limit),
            },
            Bound::AtLeast => {
                let wins = |there: &Limit| limit.value > there.value || (limit.value == there.value && limit < *there);
                if self.low.as_ref().is_none_or(wins) {
                    self.low = Some(limit);
                }
            }
            Bound::AtMost => {
                if self.high.as_ref().is_none_or(|there| limit < *there) {
                    self.high = Some(limit);
                }
            }
        }
        Ok(())
    }

    /// The first pair that cannot both hold.
    fn contradiction(&self) -> Option<(Wanted<'_>, Wanted<'_>)> {
        let exact = self.exact.as_ref().map(|l| (Bound::Exact, l));
        let low = self.low.as_ref().map(|l| (Bound::AtLeast, l));
        let high = self.high.as_ref().map(|l| (Bound::AtMost, l));
        [(exact, low), (high, exact), (high, low)]
            .into_iter()
            .filter_map(|(a, b)| a.zip(b))
            .find(|((_, upper), (_, lower))| upper.value < lower.value)
    }
}

impl Target {
    /// Name of a field, such as `kernel.sem.semmni`, or of the sysctl when it has only one.
    pub fn field_name(&self, index: usize) -> String {
        match self.sysctl {
            Sysctl::Sem => format!("kernel.sem.{}", SemField::ALL[index].name()),
            other => other.name().to_owned(),
        }
    }

    /// The fields that are asked for.
    pub fn asked(&self) -> impl Iterator<Item = (usize, &Range)> {
        self.fields.iter().enumerate().filter(|(_, range)| !range.is_empty())
    }

    /// True when anyone but the administrator asks.
    pub fn by_container(&self) -> bool {
        self.asked().any(|(_, range)| range.limits().any(|(_, l)| l.by.authority() == Authority::Container))
    }
}

/// Merges profiles into one request. `memory` must be there when a formula is used.
///
/// # Errors
/// Two wishes that cannot both hold; the same object asked for in two ways.
pub fn merge(profiles: Vec<Profile>, memory: Option<&Memory>, page_size: u64) -> Result<Request> {
    let mut request = Request::default();
    let mut objects = Vec::new();
    for profile in profiles {
        for wish in &profile.sysctls {
            add_sysctl(&mut request, wish, memory, page_size)?;
        }
        // Mostly there is one profile: its list is taken as it is.
        match objects.is_empty() {
            true => objects = profile.objects,
            false => objects.extend(profile.objects),
        }
        request.by_file.extend(profile.by_file);
    }
    request.sysctls.sort_by_key(|t| t.sysctl);
    request.notes.sort();
    request.notes.dedup();
    for target in &request.sysctls {
        for (index, range) in target.asked() {
            if let Some((a, b)) = range.contradiction() {
                return Err(contradiction(&target.field_name(index), a, b));
            }
        }
    }
    request.objects = unique(objects)?;
    Ok(request)
}

fn add_sysctl(request: &mut Request, wish: &SysctlWish, memory: Option<&Memory>, page_size: u64) -> Result<()> {
    let sysctl = wish.sysctl;
    let index = match request.sysctls.iter().position(|t| t.sysctl == sysctl) {
        Some(index) => index,
        None => {
            request.sysctls.push(Target { sysctl, fields: Default::default() });
            request.sysctls.len() - 1
        }
    };
    for (field, wished) in wish.wished.fields().into_iter().enumerate() {
        let Some(wished) = wished else { continue };
        let max = if sysctl == Sysctl::Sem { SemField::ALL[field].range().1 } else { sysctl.range().1 };
        let (value, cut) = wished.amount.resolve(sysctl.unit(), max, memory, page_size);
        let target = &mut request.sysctls[index];
        if cut {
            let name = target.field_name(field);
            request.notes.push(format!("{name}: {} ({}) is cut at the kernel's maximum {max}", wished.amount, wish.by));
        }
        let range = &mut target.fields[field];
        if let Err(limit) = range.add(wished.bound, Limit { value, by: wish.by.clone() }) {
            let name = request.sysctls[index].field_name(field);
            let there = request.sysctls[index].fields[field].exact.as_ref();
            let mut pair = [Some(&limit), there].into_iter().flatten().collect::<Vec<_>>();
            pair.sort();
            return Err(contradiction(&name, (Bound::Exact, pair[0]), (Bound::Exact, pair[pair.len() - 1])));
        }
    }
    Ok(())
}

fn contradiction(name: &str, (bound_a, a): Wanted<'_>, (bound_b, b): Wanted<'_>) -> Error {
    Error::bad_input(name, "the two exclude each other")
        .wanted(format!("{}{} ({}) and {}{} ({})", bound_a.prefix(), a.value, a.by, bound_b.prefix(), b.value, b.by))
        .remedy("use one of the profiles, or loosen one of the two")
}

/// Sorts by id; the same object twice must be identical, and the one with more authority stands for both.
fn unique(mut objects: Vec<ObjectWish>) -> Result<Vec<ObjectWish>> {
    objects.sort_unstable_by(|a, b| (&a.id, &a.by).cmp(&(&b.id, &b.by)));
    for pair in objects.windows(2) {
        if pair[0].id == pair[1].id && !pair[0].same_as(&pair[1]) {
            return Err(Error::bad_input(pair[0].id.to_string(), "the same object is asked for in two ways")
                .wanted(format!("one description, in {} and {}", pair[0].by, pair[1].by))
                .remedy("make both identical or remove one"));
        }
    }
    objects.dedup_by(|b, a| a.id == b.id);
    Ok(objects)
}

#[cfg(test)]
mod tests;
