//! Every assembled shader parses, validates and translates to SPIR-V, MSL, HLSL and GLSL, stays within WebGPU's default
//! limits, and declares the bindings and the uniform that the Rust side hands it.
#![cfg(feature = "gpu")]

use std::borrow::Cow;
use std::sync::Arc;

use naga::back::{glsl, hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{
    AddressSpace, ArraySize, ImageClass, Module, ScalarKind, ShaderStage, StorageAccess,
    StorageFormat, TypeInner,
};
use wgpu_rnn::gpu::shader::{Access, Shader};
use wgpu_rnn::gpu::shaders;
use wgpu_rnn::ops::{Program, Role};
use wgpu_rnn::{
    GruReset, LayerNormKind, Network, NetworkOptions, Packing, ParameterLayout, Peephole,
    Precision, RnnConfig,
};

const MAIN: (ShaderStage, &str) = (ShaderStage::Compute, "main");

/// A network of every cell that has kernels of its own.
fn configs() -> Vec<RnnConfig> {
    let whole = LayerNormKind::WholeThenSum;
    let lstm = || RnnConfig::lstm(3, 5);
    let gru = || RnnConfig::gru(3, 5);
    let projected = lstm().peephole(Peephole::New).projection(2, true);
    let per_gate = lstm().layer_norm(LayerNormKind::PerGate, 1e-5);
    let builders = [
        RnnConfig::elman(3, 5),
        projected,
        lstm(),
        lstm().layer_norm(whole, 1e-5),
        per_gate.peephole(Peephole::Old).projection(2, false),
        gru(),
        gru().reset(GruReset::Before),
        gru().layer_norm(whole, 1e-5),
    ];
    builders.map(|builder| builder.build().unwrap()).into()
}

/// Its forward, stored in `storage`.
fn program(config: &RnnConfig, storage: Precision) -> Program {
    let mut program = Program::new();
    let len = ParameterLayout::new(config).unwrap().len();
    let parameters = program.buffer("parameters", len, Role::External).into();
    let packing = Arc::new(Packing::dense(2, 1).unwrap());
    let options = NetworkOptions {
        storage,
        ..Default::default()
    };
    let network = Network::new(&mut program, config, &packing, &options, parameters, None);
    network.unwrap().forward(&mut program).unwrap();
    program
}

/// Every shader, those of the recurrent kernels for each cell and precision.
fn all_shaders() -> Vec<Shader> {
    let storages = [Precision::F32, Precision::F16];
    let of_storage = |storage| {
        let configs = configs().into_iter();
        configs.map(move |config| program(&config, storage))
    };
    let programs: Vec<Program> = storages.into_iter().flat_map(of_storage).collect();
    shaders(&programs)
}

fn parse(shader: &Shader) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(shader.source()).unwrap_or_else(|error| {
        panic!(
            "{}: {}",
            shader.label(),
            error.emit_to_string(shader.source())
        )
    });
    // No optional capability: what a browser validates. Only kernels that are chosen for a device with subgroups, or for
    // buffers in half precision, need them.
    let mut capabilities = Capabilities::empty();
    capabilities.set(Capabilities::SUBGROUP, shader.needs_subgroups());
    capabilities.set(Capabilities::SHADER_FLOAT16, shader.needs_f16());
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .unwrap_or_else(|error| {
            panic!(
                "{}: {}",
                shader.label(),
                error.emit_to_string(shader.source())
            )
        });
    (module, info)
}

/// The module with its override constants replaced by the shader's typical values, as a driver gets it.
fn resolved<'a>(
    shader: &Shader,
    module: &'a Module,
    info: &'a ModuleInfo,
) -> (Cow<'a, Module>, Cow<'a, ModuleInfo>) {
    let constants = shader
        .overrides()
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect();
    process_overrides(module, info, Some(MAIN), &constants)
        .unwrap_or_else(|error| panic!("{}: {error}", shader.label()))
}

fn for_each(check: impl Fn(&Shader, &Module, &ModuleInfo)) {
    let shaders = all_shaders();
    assert!(shaders.len() > 10);
    for shader in &shaders {
        let (module, info) = parse(shader);
        let (module, info) = resolved(shader, &module, &info);
        check(shader, &module, &info);
    }
}

/// Half precision is asked for by those shaders that have buffers of it, each kernel that a network may run on them.
#[test]
fn f16_is_enabled_where_buffers_hold_it() {
    let shaders = all_shaders();
    for shader in &shaders {
        let label = shader.label();
        let enabled = shader.source().starts_with("enable f16;");
        assert_eq!(enabled, shader.needs_f16(), "{label}");
        assert_eq!(shader.source().contains("f16"), enabled, "{label}");
        assert_eq!(shader.precisions().len(), shader.bindings().len());
    }
    for stem in [
        "column_sums",
        "dropout_rows",
        "gemm",
        "gemm_broadcast",
        "gemm_sum",
        "layer_norm_rows",
        "layer_norm_rows_backward",
        "stack_step_lstm",
        "merge_directions",
        "recurrent_backward_gru",
        "recurrent_forward_elman",
        "strided_copies",
    ] {
        let of_stem = |shader: &&Shader| shader.label().starts_with(stem);
        assert!(
            { shaders.iter() }.filter(of_stem).any(Shader::needs_f16),
            "{stem}"
        );
    }
}

#[test]
fn override_constants_exist() {
    for shader in all_shaders() {
        let (module, _) = parse(&shader);
        for (name, _) in shader.overrides() {
            let declared = module
                .overrides
                .iter()
                .any(|(_, declared)| declared.name.as_deref() == Some(name));
            assert!(declared, "{}: no override {name}", shader.label());
        }
    }
}

#[test]
fn labels_are_unique_for_a_source() {
    let shaders = all_shaders();
    for (index, shader) in shaders.iter().enumerate() {
        for other in &shaders[..index] {
            assert_eq!(
                shader.label() == other.label(),
                shader.source() == other.source(),
                "{} and {}",
                shader.label(),
                other.label()
            );
        }
    }
}

#[test]
fn bindings_are_those_of_the_rust_side() {
    // As written, before overrides are resolved: that drops what a variant does not use.
    for shader in &all_shaders() {
        let (module, info) = parse(shader);
        let (module, label) = (&module, shader.label());
        let main = info.get_entry_point(0);
        let mut storage = vec![None; shader.bindings().len()];
        let mut uniform = None;
        for (handle, variable) in module.global_variables.iter() {
            let Some(binding) = &variable.binding else {
                continue;
            };
            let inner = &module.types[variable.ty].inner;
            // A kernel may leave out bindings that a shared module declares, as long as `main` does not touch them.
            let beyond = binding.group == 1 && binding.binding as usize >= storage.len();
            if beyond && main[handle].is_empty() {
                continue;
            }
            match (binding.group, binding.binding, variable.space) {
                (0, 0, AddressSpace::Uniform) => uniform = Some(inner),
                (0, 1, AddressSpace::Uniform) => assert_scalars(label, module, inner, 4),
                (1, slot, AddressSpace::Storage { access }) => {
                    let slot = storage.get_mut(slot as usize).unwrap_or_else(|| {
                        panic!("{label}: binding {slot} is not declared in Rust")
                    });
                    *slot = Some(match access.contains(StorageAccess::STORE) {
                        true => Access::ReadWrite,
                        false => Access::Read,
                    });
                    assert!(
                        matches!(inner, TypeInner::Array { .. }),
                        "{label}: no array"
                    );
                }
                (1, slot, AddressSpace::Handle) => {
                    let TypeInner::Image {
                        class: ImageClass::Storage { format, access },
                        ..
                    } = inner
                    else {
                        panic!("{label}: no storage texture")
                    };
                    assert_eq!(*access, StorageAccess::LOAD, "{label}");
                    storage[slot as usize] = Some(Access::Texture(match format {
                        StorageFormat::Rgba32Float => Precision::F32,
                        StorageFormat::Rgba16Float => Precision::F16,
                        format => panic!("{label}: a texture of {format:?}"),
                    }));
                }
                place => panic!("{label}: a binding at {place:?}"),
            }
        }
        let declared: Vec<_> = shader.bindings().iter().copied().map(Some).collect();
        assert_eq!(storage, declared, "{label}");
        let uniform = uniform.unwrap_or_else(|| panic!("{label}: no uniform"));
        assert_uniform(label, module, uniform, shader.uniform_bytes());
    }
}

/// The uniform is one struct or an array of such.
fn assert_uniform(label: &str, module: &Module, inner: &TypeInner, bytes: usize) {
    match *inner {
        TypeInner::Array {
            base,
            size: ArraySize::Constant(count),
            ..
        } => {
            let count = count.get() as usize;
            assert!(bytes.is_multiple_of(count), "{label}: size of the uniform");
            assert_scalars(label, module, &module.types[base].inner, bytes / count);
        }
        _ => assert_scalars(label, module, inner, bytes),
    }
}

/// It is a struct of 4-byte scalars and arrays of `vec4` without gaps, so `repr(C)` lays its Rust twin out alike.
fn assert_scalars(label: &str, module: &Module, inner: &TypeInner, bytes: usize) {
    let TypeInner::Struct { members, span } = inner else {
        panic!("{label}: the uniform is no struct")
    };
    assert_eq!(*span as usize, bytes, "{label}: size of the uniform");
    let mut end = 0;
    for member in members {
        let name = &member.name;
        assert_eq!(member.offset, end, "{label}: a gap before {name:?}");
        end += match module.types[member.ty].inner {
            TypeInner::Scalar(scalar) => {
                assert_ne!(scalar.kind, ScalarKind::Bool, "{label}: {name:?}");
                scalar.width.into()
            }
            TypeInner::Array {
                size: ArraySize::Constant(count),
                stride: 16,
                ..
            } => 16 * count.get(),
            _ => panic!("{label}: {name:?} is neither a scalar nor an array of vec4"),
        };
    }
    assert_eq!(end, *span, "{label}: a gap at the end");
}

#[test]
fn workgroups_fit_the_default_limits() {
    for_each(|shader, module, _| {
        let label = shader.label();
        let buffers = (shader.bindings().iter())
            .filter(|access| access.is_storage())
            .count();
        // One form is beyond them: an LSTM's steps in one dispatch with its weights in a buffer. It is chosen where a device binds
        // more, and gives way to its parts' dispatches elsewhere: `steps::with_default_limits` of the networks' tests.
        let has_texture =
            (shader.bindings().iter()).any(|access| matches!(access, Access::Texture(_)));
        let most = match label.starts_with("stack_step") && label.contains("_lstm_") && !has_texture
        {
            true => 9,
            false => 8,
        };
        assert!(buffers <= most, "{label}: {buffers} storage buffers");
        let [entry] = &module.entry_points[..] else {
            panic!("{label}: not one entry point")
        };
        assert_eq!(entry.name, "main", "{label}");
        let invocations: u32 = entry.workgroup_size.iter().product();
        assert!(invocations <= 256, "{label}: {invocations} invocations");
        let bytes: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
            .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
            .sum();
        assert!(
            bytes <= 16 << 10,
            "{label}: {bytes} bytes of workgroup memory"
        );
    });
}

#[test]
fn translates_to_spirv() {
    for_each(|shader, module, info| {
        let options = spv::PipelineOptions {
            shader_stage: MAIN.0,
            entry_point: MAIN.1.to_owned(),
        };
        spv::write_vec(module, info, &spv::Options::default(), Some(&options))
            .unwrap_or_else(|error| panic!("{}: {error}", shader.label()));
    });
}

#[test]
fn translates_to_msl() {
    for_each(|shader, module, info| {
        let options = msl::Options {
            fake_missing_bindings: true,
            ..Default::default()
        };
        msl::write_string(module, info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|error| panic!("{}: {error}", shader.label()));
    });
}

#[test]
fn translates_to_hlsl() {
    for_each(|shader, module, info| {
        // As wgpu's DX12 backend asks for it; the special constants carry the number of workgroups.
        let options = hlsl::Options {
            // 16-bit types came with 6.2; wgpu offers them where the compiler takes that.
            shader_model: match shader.needs_f16() {
                true => hlsl::ShaderModel::V6_2,
                false => hlsl::ShaderModel::V5_1,
            },
            fake_missing_bindings: true,
            special_constants_binding: Some(hlsl::BindTarget {
                space: 0,
                register: 100,
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut text = String::new();
        hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
            .write(module, info, None)
            .unwrap_or_else(|error| panic!("{}: {error}", shader.label()));
    });
}

#[test]
fn translates_to_glsl() {
    for_each(|shader, module, info| {
        // GLSL ES has no 16-bit types, and no GL adapter the feature.
        if shader.needs_f16() {
            return;
        }
        let options = glsl::Options {
            version: glsl::Version::new_gles(310),
            ..Default::default()
        };
        let pipeline = glsl::PipelineOptions {
            shader_stage: MAIN.0,
            entry_point: MAIN.1.to_owned(),
            multiview: None,
        };
        let mut text = String::new();
        glsl::Writer::new(
            &mut text,
            module,
            info,
            &options,
            &pipeline,
            naga::proc::BoundsCheckPolicies::default(),
        )
        .and_then(|mut writer| writer.write())
        .unwrap_or_else(|error| panic!("{}: {error}", shader.label()));
    });
}
