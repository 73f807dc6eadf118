//! Wanted values of sysctls as they are written: bounds, sizes, percent of memory, numbers per GiB.

use crate::ipc::sysctl::{UNLIMITED, Unit};
use crate::ipc::value::parse_decimal;
use crate::ipc::{Bound, SemField, Sysctl, ValueError};
use std::fmt;

/// A number of a profile, before memory is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// A bare number in the sysctl's own unit.
    Number(u64),
    /// A size in bytes, such as `64MiB`.
    Size(u64, SizeUnit),
    /// Percent of memory, 1 … 1000; only for shmmax and shmall.
    Percent(u64),
    /// So many for each GiB of memory; only for counts.
    PerGib(u64),
    /// No limit; only for shmmax and shmall.
    Unlimited,
}

/// Unit of a size: KiB, MiB, GiB, TiB are powers of 1024, KB, MB, GB, TB powers of 1000 (util-linux).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeUnit(usize);

const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// A wanted value with its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Exactly, at least or at most.
    pub bound: Bound,
    /// How much.
    pub amount: Amount,
}

/// The wish for one sysctl: one number, or the fields of `kernel.sem` that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wished {
    /// Every sysctl but `kernel.sem`.
    Scalar(Wish),
    /// `kernel.sem`; a field that is not named stays as it is.
    Sem([Option<Wish>; 4]),
}

/// Memory that formulas are computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes.
    pub bytes: u64,
    /// Where the number comes from, such as `MemTotal` or `memory.max of /a/b`.
    pub from: String,
    /// Bytes of a page.
    pub page_size: u64,
}

/// Reads a size such as `64MiB` or a plain number of bytes.
///
/// # Errors
/// Not a number with one of the known units, or more than 2⁶⁴−1 bytes.
pub fn parse_size(text: &str) -> Result<u64, ValueError> {
    match parse_amount(text)? {
        Amount::Number(n) => Ok(n),
        amount @ Amount::Size(..) => Ok(amount.bytes()),
        _ => Err(ValueError::new("not a size such as \"64MiB\"")),
    }
}

fn parse_amount(text: &str) -> Result<Amount, ValueError> {
    if text == "unlimited" {
        return Ok(Amount::Unlimited);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    let number = parse_decimal(number)?;
    match rest.trim_start_matches(' ') {
        "" if rest.is_empty() => Ok(Amount::Number(number)),
        "%" if (1..=1000).contains(&number) => Ok(Amount::Percent(number)),
        "%" => Err(ValueError::new("percent of memory lies between 1% and 1000%")),
        "per GiB" if rest.starts_with(' ') && number > 0 => Ok(Amount::PerGib(number)),
        unit => match UNITS.iter().position(|(name, _)| *name == unit) {
            Some(index) => number
                .checked_mul(UNITS[index].1)
                .map(|_| Amount::Size(number, SizeUnit(index)))
                .ok_or_else(|| ValueError::new("larger than 2^64-1")),
            None => Err(ValueError::new(
                "not a number, a size (KiB, MiB, GiB, TiB, KB, MB, GB, TB), a percentage of memory, a number 'per GiB' or 'unlimited'",
            )),
        },
    }
}

impl Amount {
    fn bytes(self) -> u64 {
        match self {
            Amount::Size(n, SizeUnit(index)) => n.saturating_mul(UNITS[index].1),
            Amount::Number(n) => n,
            _ => 0,
        }
    }

    /// Refuses notations that make no sense for a unit, and literals out of range.
    fn check(self, unit: Unit, (min, max): (u64, u64)) -> Result<(), ValueError> {
        let memory_sized = max == u64::MAX;
        let literal = match self {
            Amount::Number(n) => n,
            Amount::Size(..) => match unit {
                Unit::Bytes => self.bytes(),
                Unit::Pages => return Ok(()),
                _ => return Err(ValueError::new("a size makes no sense for a count")),
            },
            Amount::Percent(_) | Amount::Unlimited if memory_sized => return Ok(()),
            Amount::Percent(_) => {
                return Err(ValueError::new("percent of memory is for kernel.shmmax and kernel.shmall only"));
            }
            Amount::Unlimited => {
                return Err(ValueError::new("'unlimited' is for kernel.shmmax and kernel.shmall only"));
            }
            Amount::PerGib(_) if unit == Unit::Count => return Ok(()),
            Amount::PerGib(_) => return Err(ValueError::new("'per GiB' is for counts only")),
        };
        if (min..=max).contains(&literal) {
            Ok(())
        } else {
            Err(ValueError::new(format!("out of range: the kernel takes {min} to {max}")))
        }
    }

    /// True when memory is needed to know the number.
    pub fn needs_memory(self) -> bool {
        matches!(self, Amount::Percent(_) | Amount::PerGib(_))
    }

    /// The number in the sysctl's own unit, and whether it was cut at the kernel's maximum.
    pub fn resolve(self, unit: Unit, max: u64, memory: Option<&Memory>, page_size: u64) -> (u64, bool) {
        let bytes = u128::from(memory.map_or(0, |m| m.bytes));
        let page = u128::from(page_size.max(1));
        let exact: u128 = match self {
            Amount::Number(n) => u128::from(n),
            Amount::Size(..) if unit == Unit::Pages => u128::from(self.bytes()).div_ceil(page),
            Amount::Size(..) => u128::from(self.bytes()),
            Amount::Percent(p) if unit == Unit::Pages => bytes * u128::from(p) / 100 / page,
            Amount::Percent(p) => bytes * u128::from(p) / 100,
            Amount::PerGib(n) => ((u128::from(n) * bytes) >> 30).max(1),
            Amount::Unlimited => u128::from(UNLIMITED),
        };
        match u64::try_from(exact) {
            Ok(n) if n <= max => (n, false),
            _ => (max, true),
        }
    }
}

impl Wished {
    /// Reads the text of a wish for `sysctl`, such as `>= 256MiB` or `>= 32 4096 32 128`.
    ///
    /// # Errors
    /// Unknown notation, a notation that makes no sense for this sysctl, or a literal out of its range.
    pub fn parse(sysctl: Sysctl, text: &str) -> Result<Wished, ValueError> {
        let (bound, rest) = parse_bound(text);
        if sysctl != Sysctl::Sem {
            let amount = parse_amount(rest)?;
            amount.check(sysctl.unit(), sysctl.range())?;
            return Ok(Wished::Scalar(Wish { bound, amount }));
        }
        let mut fields = [None; 4];
        let mut words = rest.split([' ', '\t']).filter(|w| !w.is_empty());
        for (field, wish) in SemField::ALL.into_iter().zip(&mut fields) {
            let word = words.next().ok_or_else(four_numbers)?;
            let amount = Amount::Number(parse_decimal(word)?);
            amount.check(Unit::Count, field.range()).map_err(|e| ValueError::new(format!("{}: {e}", field.name())))?;
            *wish = Some(Wish { bound, amount });
        }
        if words.next().is_some() { Err(four_numbers()) } else { Ok(Wished::Sem(fields)) }
    }

    /// Reads the text of one field of `kernel.sem`.
    ///
    /// # Errors
    /// As [`Wished::parse`].
    pub fn parse_field(field: SemField, text: &str) -> Result<Wish, ValueError> {
        let (bound, rest) = parse_bound(text);
        let amount = parse_amount(rest)?;
        amount.check(Unit::Count, field.range())?;
        Ok(Wish { bound, amount })
    }

    /// The wishes by field; a scalar is field 0.
    pub fn fields(&self) -> [Option<Wish>; 4] {
        match self {
            Wished::Scalar(wish) => [Some(*wish), None, None, None],
            Wished::Sem(fields) => *fields,
        }
    }

    /// True when memory is needed to know the numbers.
    pub fn needs_memory(&self) -> bool {
        self.fields().into_iter().flatten().any(|w| w.amount.needs_memory())
    }
}

fn four_numbers() -> ValueError {
    ValueError::new("kernel.sem has exactly four numbers: SEMMSL SEMMNS SEMOPM SEMMNI")
}

fn parse_bound(text: &str) -> (Bound, &str) {
    let (bound, rest) = match (text.strip_prefix(">="), text.strip_prefix("<=")) {
        (Some(rest), _) => (Bound::AtLeast, rest),
        (_, Some(rest)) => (Bound::AtMost, rest),
        _ => return (Bound::Exact, text),
    };
    (bound, rest.trim_start_matches(' '))
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Number(n) => write!(f, "{n}"),
            Amount::Size(n, SizeUnit(index)) => write!(f, "{n}{}", UNITS[*index].0),
            Amount::Percent(p) => write!(f, "{p}%"),
            Amount::PerGib(n) => write!(f, "{n} per GiB"),
            Amount::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.bound.prefix(), self.amount)
    }
}

impl fmt::Display for Wished {
    /// As a profile writes it: a string, or for `kernel.sem` an inline table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wished::Scalar(wish) => write!(f, "\"{wish}\""),
            Wished::Sem(fields) => {
                let named: Vec<_> = SemField::ALL
                    .into_iter()
                    .zip(fields)
                    .filter_map(|(field, wish)| wish.map(|w| format!("{} = \"{w}\"", field.name())))
                    .collect();
                write!(f, "{{ {} }}", named.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(sysctl: Sysctl, text: &str) -> Wish {
        match Wished::parse(sysctl, text) {
            Ok(Wished::Scalar(wish)) => wish,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn resolved(sysctl: Sysctl, text: &str, gib: u64) -> (u64, bool) {
        let memory = Memory { bytes: gib << 30, from: "test".into(), page_size: 4096 };
        scalar(sysctl, text).amount.resolve(sysctl.unit(), sysctl.range().1, Some(&memory), 4096)
    }

    #[test]
    fn reads_bounds_and_notations() {
        for (sysctl, text) in [
            (Sysctl::Shmmax, ">= 256MiB"),
            (Sysctl::Shmmax, "50%"),
            (Sysctl::Shmall, "<= 8GiB"),
            (Sysctl::Shmall, "200%"),
            (Sysctl::Shmmax, "unlimited"),
            (Sysctl::Shmmax, "18446744073709551615"),
            (Sysctl::Msgmni, ">= 1024 per GiB"),
            (Sysctl::Msgmax, "64KB"),
            (Sysctl::ShmRmidForced, "1"),
        ] {
            assert_eq!(scalar(sysctl, text).to_string(), text);
        }
        assert_eq!(scalar(Sysctl::Msgmax, ">=64 KiB"), scalar(Sysctl::Msgmax, ">= 64KiB"));
    }

    #[test]
    fn refuses_the_rest() {
        for (sysctl, text) in [
            (Sysctl::Msgmax, ""),
            (Sysctl::Msgmax, "-1"),
            (Sysctl::Msgmax, "+1"),
            (Sysctl::Msgmax, "010"),
            (Sysctl::Msgmax, "0x10"),
            (Sysctl::Msgmax, "1e3"),
            (Sysctl::Msgmax, "1.5KiB"),
            (Sysctl::Msgmax, "8K"),
            (Sysctl::Msgmax, "10%"),
            (Sysctl::Msgmax, "10 per GiB"),
            (Sysctl::Msgmax, "unlimited"),
            (Sysctl::Msgmax, "1\n2"),
            (Sysctl::Msgmax, " 1"),
            (Sysctl::Msgmax, "1 "),
            (Sysctl::Msgmax, "> 1"),
            (Sysctl::Msgmax, "2GiB"),
            (Sysctl::Msgmni, "8KiB"),
            (Sysctl::Msgmni, "32769"),
            (Sysctl::Msgmni, "0 per GiB"),
            (Sysctl::Msgmni, "5per GiB"),
            (Sysctl::Shmmax, "0%"),
            (Sysctl::Shmmax, "1001%"),
            (Sysctl::Shmmax, "99999999999TiB"),
            (Sysctl::ShmRmidForced, "2"),
            (Sysctl::MqMsgMax, "0"),
            (Sysctl::MqMsgsizeMax, "127"),
            (Sysctl::Sem, "1 2 3"),
            (Sysctl::Sem, "1 2 3 4 5"),
            (Sysctl::Sem, "1 2 3 32769"),
            (Sysctl::Sem, "1 2 3 -4"),
            (Sysctl::Sem, "2147483648 1 1 1"),
        ] {
            assert!(Wished::parse(sysctl, text).is_err(), "{sysctl} {text:?}");
        }
    }

    #[test]
    fn formulas() {
        assert_eq!(resolved(Sysctl::Shmmax, "50%", 3), (3 << 29, false));
        assert_eq!(resolved(Sysctl::Shmall, "200%", 1), (524_288, false));
        assert_eq!(resolved(Sysctl::Shmall, "8GiB", 0), (2_097_152, false));
        assert_eq!(resolved(Sysctl::Shmall, "4097B", 0), (2, false));
        assert_eq!(resolved(Sysctl::Shmall, "77", 0), (77, false));
        assert_eq!(resolved(Sysctl::Shmmni, "256 per GiB", 16), (4096, false));
        assert_eq!(resolved(Sysctl::Shmmni, "256 per GiB", 512), (32768, true));
        assert_eq!(resolved(Sysctl::Shmmni, "256 per GiB", 0), (1, false));
        assert_eq!(resolved(Sysctl::Shmmax, "unlimited", 0), (UNLIMITED, false));
    }

    #[test]
    fn sem_by_field() {
        let wish = Wished::parse_field(SemField::Semmni, ">= 256 per GiB").unwrap();
        let sem = Wished::Sem([None, None, None, Some(wish)]);
        assert_eq!(sem.to_string(), "{ semmni = \">= 256 per GiB\" }");
        assert!(sem.needs_memory());
        let all = Wished::parse(Sysctl::Sem, ">= 32 4096\t32  128").unwrap();
        assert_eq!(all.fields().map(|w| w.unwrap().to_string()), [">= 32", ">= 4096", ">= 32", ">= 128"]);
    }
}
