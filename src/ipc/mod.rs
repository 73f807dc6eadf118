//! The nouns: sysctls, objects, values, and what a namespace holds. No I/O here, and no other module is named.

pub mod ftok;
pub mod idmap;
pub mod object;
pub mod snapshot;
pub mod sysctl;
pub mod value;

pub use ftok::FileKey;
pub use idmap::{IdMap, IdMaps};
pub use object::{Existing, Kind, ObjectId, ObjectSpec, Shape};
pub use snapshot::{NamespaceId, Snapshot, Usage};
pub use sysctl::{SemField, Sysctl, SysctlValue};
pub use value::{Bound, Key, Mode, Owner, QueueName, ValueError};
