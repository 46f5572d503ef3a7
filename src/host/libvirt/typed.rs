//! libvirt's typed parameters, read and written in one place. It does not know what they tune.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fmt;

use virt_sys as sys;

use super::{LibvirtError, check};
use crate::tunable::ParameterGroup;

/// A value with the type libvirt gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum TypedValue {
    /// 32 bits, signed.
    Int(i32),
    /// 32 bits, unsigned.
    UInt(u32),
    /// 64 bits, signed.
    LLong(i64),
    /// 64 bits, unsigned.
    ULLong(u64),
    /// A floating-point number.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    String(String),
}

impl TypedValue {
    /// The value as a whole number, when it is one.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Int(v) => Some(v.into()),
            Self::UInt(v) => Some(v.into()),
            Self::LLong(v) => Some(v),
            Self::ULLong(v) => i64::try_from(v).ok(),
            Self::Bool(v) => Some(v.into()),
            Self::Double(_) | Self::String(_) => None,
        }
    }

    /// The value as text, when it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// `wanted` in the type of `self`, when it fits.
    fn same_type(&self, wanted: &Wanted) -> Option<Self> {
        let number = match (self, wanted) {
            (Self::String(_), Wanted::Text(text)) => return Some(Self::String(text.clone())),
            (Self::String(_), Wanted::Number(_)) | (_, Wanted::Text(_)) => return None,
            (_, Wanted::Number(number)) => *number,
        };
        Some(match self {
            Self::Int(_) => Self::Int(number.try_into().ok()?),
            Self::UInt(_) => Self::UInt(number.try_into().ok()?),
            Self::LLong(_) => Self::LLong(number),
            Self::ULLong(_) => Self::ULLong(number.try_into().ok()?),
            Self::Bool(_) => Self::Bool(u8::try_from(number).ok().filter(|&v| v < 2)? == 1),
            Self::Double(_) | Self::String(_) => return None,
        })
    }
}

/// A new value; libvirt's type of it is the one it reads it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Number(i64),
    Text(String),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Whose values are meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'d> {
    /// A group of the whole domain.
    Group(ParameterGroup),
    /// The limits QEMU keeps of one disk, by its target name.
    Disk(&'d CStr),
}

type Getter = unsafe extern "C" fn(sys::virDomainPtr, sys::virTypedParameterPtr, *mut i32, u32) -> i32;
type Setter = unsafe extern "C" fn(sys::virDomainPtr, sys::virTypedParameterPtr, i32, u32) -> i32;

/// The calls that read and write a group; those of [`ParameterGroup::Throttle`] take a disk too.
fn calls(group: ParameterGroup) -> Option<(Getter, Setter)> {
    Some(match group {
        ParameterGroup::Scheduler => (
            sys::virDomainGetSchedulerParametersFlags,
            sys::virDomainSetSchedulerParametersFlags,
        ),
        ParameterGroup::Memory => (
            sys::virDomainGetMemoryParameters,
            sys::virDomainSetMemoryParameters,
        ),
        ParameterGroup::Blkio => (sys::virDomainGetBlkioParameters, sys::virDomainSetBlkioParameters),
        ParameterGroup::Throttle => return None,
    })
}

impl Part<'_> {
    fn name(self) -> String {
        match self {
            Self::Group(ParameterGroup::Scheduler) => "scheduler values".into(),
            Self::Group(ParameterGroup::Memory) => "memory values".into(),
            Self::Group(ParameterGroup::Blkio) => "block I/O values".into(),
            Self::Group(ParameterGroup::Throttle) => "throttle values".into(),
            Self::Disk(target) => format!("throttle values of disk {}", target.to_string_lossy()),
        }
    }

    /// # Safety
    /// `domain` must be a valid handle, and `values` null or an array of `count` elements.
    unsafe fn get(
        self,
        domain: sys::virDomainPtr,
        values: sys::virTypedParameterPtr,
        count: &mut i32,
        flags: u32,
    ) -> Option<i32> {
        // SAFETY: passed on from the caller; the disk's name ends with NUL.
        unsafe {
            match self {
                Self::Group(group) => Some(calls(group)?.0(domain, values, count, flags)),
                Self::Disk(target) => Some(sys::virDomainGetBlockIoTune(
                    domain,
                    target.as_ptr(),
                    values,
                    count,
                    flags,
                )),
            }
        }
    }

    /// # Safety
    /// `domain` must be a valid handle, and what `values` point to must live during the call.
    unsafe fn set(self, domain: sys::virDomainPtr, values: &mut [sys::virTypedParameter]) -> Option<i32> {
        let count = i32::try_from(values.len()).ok()?;
        let flags = sys::VIR_DOMAIN_AFFECT_LIVE;
        // SAFETY: passed on from the caller; the array has `count` elements.
        unsafe {
            match self {
                Self::Group(group) => Some(calls(group)?.1(domain, values.as_mut_ptr(), count, flags)),
                Self::Disk(target) => Some(sys::virDomainSetBlockIoTune(
                    domain,
                    target.as_ptr(),
                    values.as_mut_ptr(),
                    count,
                    flags,
                )),
            }
        }
    }
}

const EMPTY: sys::virTypedParameter = sys::virTypedParameter {
    field: [0; 80],
    type_: 0,
    value: sys::_virTypedParameterValue { ul: 0 },
};

/// Reads a part from a running domain.
///
/// # Safety
/// `domain` must be a valid handle.
pub(super) unsafe fn read(
    domain: sys::virDomainPtr,
    part: Part,
    name: &str,
) -> Result<BTreeMap<String, TypedValue>, LibvirtError> {
    let doing = || format!("read the {} of domain {name}", part.name());
    let of_disk = || LibvirtError::own(doing(), "they belong to a disk");
    let mut count = 0;
    if let Part::Group(ParameterGroup::Scheduler) = part {
        // SAFETY: a valid handle; the returned string is ours and freed at once.
        let kind = unsafe { sys::virDomainGetSchedulerType(domain, &raw mut count) };
        check(if kind.is_null() { -1 } else { 0 }, doing)?;
        // SAFETY: libvirt allocated it with malloc and gives it away.
        unsafe { nix::libc::free(kind.cast()) };
    } else {
        let null = std::ptr::null_mut();
        // SAFETY: a null array with a zero count asks for the count.
        let status = unsafe { part.get(domain, null, &mut count, sys::VIR_DOMAIN_AFFECT_LIVE) };
        check(status.ok_or_else(of_disk)?, doing)?;
    }
    let mut values = vec![EMPTY; usize::try_from(count).unwrap_or(0)];
    let flags = sys::VIR_DOMAIN_AFFECT_LIVE | sys::VIR_TYPED_PARAM_STRING_OKAY;
    // SAFETY: the array holds `count` elements, and libvirt writes no more and lowers `count` to what it wrote.
    let status = unsafe { part.get(domain, values.as_mut_ptr(), &mut count, flags) };
    check(status.ok_or_else(of_disk)?, doing)?;
    values.truncate(usize::try_from(count).unwrap_or(0));
    // SAFETY: each element was written by libvirt.
    let read = values
        .iter()
        .filter_map(|value| unsafe { decode(value) })
        .collect();
    // SAFETY: frees the strings libvirt put into the elements; the array itself is ours.
    unsafe { sys::virTypedParamsClear(values.as_mut_ptr(), count) };
    Ok(read)
}

/// Changes values on a running domain in one call.
///
/// # Safety
/// `domain` must be a valid handle.
pub(super) unsafe fn write(
    domain: sys::virDomainPtr,
    part: Part,
    name: &str,
    wanted: &[(&str, Wanted)],
) -> Result<(), LibvirtError> {
    let doing = || {
        let all: Vec<_> = wanted
            .iter()
            .map(|(field, value)| format!("{field} to {value}"))
            .collect();
        format!("set {} of domain {name}", all.join(", "))
    };
    // SAFETY: passed on from the caller.
    let known = unsafe { read(domain, part, name) }?;
    let (mut encoded, mut texts) = (Vec::new(), Vec::new());
    for (field, value) in wanted {
        let Some(current) = known.get(*field) else {
            let names: Vec<_> = known.keys().map(String::as_str).collect();
            let text = format!("this host offers only {}", names.join(", "));
            return Err(LibvirtError::own(doing(), &text));
        };
        let typed = current.same_type(value);
        let Some((raw, text)) = typed.and_then(|typed| encode(field, &typed)) else {
            return Err(LibvirtError::own(doing(), "it does not fit the value's type"));
        };
        encoded.push(raw);
        texts.push(text);
    }
    // SAFETY: the texts that elements point to live to the end of this function.
    let status = unsafe { part.set(domain, &mut encoded) };
    let status = status.ok_or_else(|| LibvirtError::own(doing(), "it belongs to a disk"))?;
    check(status, doing)?;
    drop(texts);
    Ok(())
}

/// # Safety
/// `raw` must have been written by libvirt: its type says which member of the union is set, and its
/// name ends with NUL.
unsafe fn decode(raw: &sys::virTypedParameter) -> Option<(String, TypedValue)> {
    // SAFETY: as above; only the member the type names is read.
    unsafe {
        let value = match u32::try_from(raw.type_).ok()? {
            sys::VIR_TYPED_PARAM_INT => TypedValue::Int(raw.value.i),
            sys::VIR_TYPED_PARAM_UINT => TypedValue::UInt(raw.value.ui),
            sys::VIR_TYPED_PARAM_LLONG => TypedValue::LLong(raw.value.l),
            sys::VIR_TYPED_PARAM_ULLONG => TypedValue::ULLong(raw.value.ul),
            sys::VIR_TYPED_PARAM_DOUBLE => TypedValue::Double(raw.value.d),
            sys::VIR_TYPED_PARAM_BOOLEAN => TypedValue::Bool(raw.value.b != 0),
            sys::VIR_TYPED_PARAM_STRING if !raw.value.s.is_null() => {
                TypedValue::String(CStr::from_ptr(raw.value.s).to_string_lossy().into_owned())
            }
            _ => return None,
        };
        Some((
            CStr::from_ptr(raw.field.as_ptr()).to_string_lossy().into_owned(),
            value,
        ))
    }
}

/// An element and the text it points to, which must outlive it; `None` for names and texts that do not fit.
fn encode(field: &str, value: &TypedValue) -> Option<(sys::virTypedParameter, Option<CString>)> {
    let mut owned = None;
    let (kind, value) = match *value {
        TypedValue::Int(i) => (sys::VIR_TYPED_PARAM_INT, sys::_virTypedParameterValue { i }),
        TypedValue::UInt(ui) => (sys::VIR_TYPED_PARAM_UINT, sys::_virTypedParameterValue { ui }),
        TypedValue::LLong(l) => (sys::VIR_TYPED_PARAM_LLONG, sys::_virTypedParameterValue { l }),
        TypedValue::ULLong(ul) => (sys::VIR_TYPED_PARAM_ULLONG, sys::_virTypedParameterValue { ul }),
        TypedValue::Double(d) => (sys::VIR_TYPED_PARAM_DOUBLE, sys::_virTypedParameterValue { d }),
        TypedValue::Bool(b) => (
            sys::VIR_TYPED_PARAM_BOOLEAN,
            sys::_virTypedParameterValue { b: b.into() },
        ),
        TypedValue::String(ref text) => {
            let text = owned.insert(CString::new(text.as_str()).ok()?);
            // libvirt reads it only: the C struct has no const.
            let s = text.as_ptr().cast_mut();
            (sys::VIR_TYPED_PARAM_STRING, sys::_virTypedParameterValue { s })
        }
    };
    let mut raw = sys::virTypedParameter {
        type_: i32::try_from(kind).ok()?,
        value,
        ..EMPTY
    };
    // The last byte stays NUL.
    if field.is_empty() || field.len() >= raw.field.len() || !field.is_ascii() || field.contains('\0') {
        return None;
    }
    for (to, from) in raw.field.iter_mut().zip(field.bytes()) {
        *to = from.cast_signed();
    }
    Some((raw, owned))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_c_struct() {
        let values = [
            TypedValue::Int(-3),
            TypedValue::UInt(u32::MAX),
            TypedValue::LLong(i64::MIN),
            TypedValue::ULLong(u64::MAX),
            TypedValue::Double(1.5),
            TypedValue::Bool(true),
            TypedValue::String("/dev/sda,500".to_owned()),
        ];
        for value in values {
            let (raw, _text) = encode("vcpu_quota", &value).unwrap();
            // SAFETY: written by `encode` as libvirt would.
            assert_eq!(unsafe { decode(&raw) }, Some(("vcpu_quota".to_owned(), value)));
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        let number = Wanted::Number;
        assert_eq!(TypedValue::UInt(0).same_type(&number(-1)), None);
        assert_eq!(TypedValue::Int(0).same_type(&number(1 << 40)), None);
        assert_eq!(TypedValue::Bool(false).same_type(&number(2)), None);
        let seven = TypedValue::ULLong(7);
        assert_eq!(seven.same_type(&number(2)), Some(TypedValue::ULLong(2)));
        let text = Wanted::Text("/dev/sda,5".to_owned());
        assert_eq!(seven.same_type(&text), None);
        assert_eq!(TypedValue::String(String::new()).same_type(&number(2)), None);
        assert!(encode("a", &TypedValue::String("a\0b".to_owned())).is_none());
        assert!(encode(&"x".repeat(80), &TypedValue::Int(0)).is_none());
        assert!(encode("a\0b", &TypedValue::Int(0)).is_none());
        // SAFETY: an empty element names no type, so no member is read.
        assert_eq!(unsafe { decode(&EMPTY) }, None);
    }
}
