//! What a shader of the user's own declares, compared with what it is given.

use naga::{
    AddressSpace, ArraySize, GlobalVariable, Module, Scalar, ScalarKind, ShaderStage,
    StorageAccess, StructMember, TypeInner, VectorSize,
};

use super::shader::Access;
use crate::ops::{CustomOperation, CustomShader, Operand, ShaderParameter};

/// The storage buffers of an operation's operands.
pub(super) fn accesses(operation: &CustomOperation) -> Vec<Access> {
    let (read, written) = (operation.reads.len(), operation.written().count());
    let mut accesses = vec![Access::Read; read];
    accesses.resize(read + written, Access::ReadWrite);
    accesses
}

/// The uniform: offset and length of each operand, then the parameters.
pub(super) fn uniform(operation: &CustomOperation, shader: &CustomShader) -> Vec<u32> {
    let places = operation.operands();
    let mut words: Vec<u32> = places
        .flat_map(|operand| [operand.region.offset as u32, operand.len as u32])
        .collect();
    words.extend(shader.parameters.iter().map(|parameter| match parameter {
        ShaderParameter::U32(value) => *value,
        ShaderParameter::F32(value) => value.to_bits(),
    }));
    words
}

/// What is wrong with a shader for an operation: text for people.
pub(super) fn check(operation: &CustomOperation, shader: &CustomShader) -> Result<(), String> {
    let source = &shader.source;
    let module = naga::front::wgsl::parse_str(source)
        .map_err(|error| format!("its shader is no WGSL: {}", error.emit_to_string(source)))?;
    match &module.entry_points[..] {
        [entry] if entry.name == "main" && entry.stage == ShaderStage::Compute => {}
        _ => return Err("its shader has to have one entry point, `main`, a compute shader".into()),
    }
    if let Some((_, open)) = { module.overrides.iter() }.find(|(_, open)| open.init.is_none()) {
        let name = open.name.as_deref().unwrap_or_default();
        return Err(format!("its override constant `{name}` has no default"));
    }
    let accesses = accesses(operation);
    let mut declared = vec![false; accesses.len()];
    let mut has_uniform = false;
    for (_, variable) in module.global_variables.iter() {
        let Some(binding) = &variable.binding else {
            continue;
        };
        let place = (binding.group, binding.binding as usize);
        let of_operand = operation.operands().zip(&accesses).nth(place.1);
        let fits = match (place, of_operand) {
            ((0, 0), _) => {
                has_uniform = true;
                is_uniform(&module, variable, (operation, shader))
            }
            ((1, index), Some((operand, access))) => {
                declared[index] = true;
                is_storage(&module, variable, *access) && is_aligned(&module, variable, operand)
            }
            _ => false,
        };
        if !fits {
            return Err(unexpected(binding, (operation, shader)));
        }
    }
    if let Some(index) = declared.iter().position(|declared| !declared) {
        return Err(format!("its shader declares no binding {index} of group 1"));
    }
    match has_uniform {
        true => Ok(()),
        false => Err("its shader declares no uniform at binding 0 of group 0".into()),
    }
}

/// Says what a binding should have been.
fn unexpected(
    binding: &naga::ResourceBinding,
    (operation, shader): (&CustomOperation, &CustomShader),
) -> String {
    let (group, index) = (binding.group, binding.binding as usize);
    let expected = match (group, accesses(operation).get(index)) {
        (0, _) if index == 0 => {
            let mut members = vec!["u32"; 2 * operation.operands().count()];
            members.extend(shader.parameters.iter().map(|parameter| match parameter {
                ShaderParameter::U32(_) => "u32",
                ShaderParameter::F32(_) => "f32",
            }));
            format!("`var<uniform>` of a struct of {}", members.join(", "))
        }
        (1, Some(access)) => {
            let access = match access {
                Access::ReadWrite => "read_write",
                _ => "read",
            };
            format!(
                "`var<storage, {access}>` of array<f32>, or of array<vec2f> or array<vec4f> if the operand is whole vectors"
            )
        }
        _ => "nothing".to_owned(),
    };
    format!(
        "binding {index} of group {group} of its shader: expected {expected}, got another declaration"
    )
}

fn is_storage(module: &Module, variable: &GlobalVariable, access: Access) -> bool {
    let wanted = match access {
        Access::ReadWrite => StorageAccess::LOAD | StorageAccess::STORE,
        _ => StorageAccess::LOAD,
    };
    variable.space == AddressSpace::Storage { access: wanted } && width(module, variable).is_some()
}

/// Numbers of an element of a buffer: of `f32` and vectors of 2 or 4.
fn width(module: &Module, variable: &GlobalVariable) -> Option<usize> {
    let TypeInner::Array {
        base,
        size: ArraySize::Dynamic,
        ..
    } = module.types[variable.ty].inner
    else {
        return None;
    };
    match module.types[base].inner {
        TypeInner::Scalar(Scalar::F32) => Some(1),
        TypeInner::Vector {
            size: VectorSize::Bi,
            scalar: Scalar::F32,
        } => Some(2),
        TypeInner::Vector {
            size: VectorSize::Quad,
            scalar: Scalar::F32,
        } => Some(4),
        _ => None,
    }
}

/// Whether an operand is whole elements.
fn is_aligned(module: &Module, variable: &GlobalVariable, operand: &Operand) -> bool {
    let width = width(module, variable).unwrap_or(1);
    let whole = |numbers: usize| numbers.is_multiple_of(width);
    // Of a caller's buffer of less than a vector nothing could be bound.
    width == 1 || (whole(operand.region.offset) && whole(operand.len) && operand.len > 0)
}

fn is_uniform(
    module: &Module,
    variable: &GlobalVariable,
    (operation, shader): (&CustomOperation, &CustomShader),
) -> bool {
    let TypeInner::Struct { members, .. } = &module.types[variable.ty].inner else {
        return false;
    };
    let places = 2 * operation.operands().count();
    let mut wanted = vec![ScalarKind::Uint; places];
    wanted.extend(shader.parameters.iter().map(|parameter| match parameter {
        ShaderParameter::U32(_) => ScalarKind::Uint,
        ShaderParameter::F32(_) => ScalarKind::Float,
    }));
    let is = |(index, (member, kind)): (usize, (&StructMember, &ScalarKind))| {
        let scalar = Scalar {
            kind: *kind,
            width: 4,
        };
        member.offset as usize == 4 * index
            && module.types[member.ty].inner == TypeInner::Scalar(scalar)
    };
    variable.space == AddressSpace::Uniform
        && members.len() == wanted.len()
        && members.iter().zip(&wanted).enumerate().all(is)
}
