//! Turns operations into dispatches held as data: what kernels write to when a plan is loaded.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::buffer;
use super::choice::Choice;
use super::loader::Loader;
use super::options::GpuOptions;
use super::pipeline::{PipelineKey, PipelineRequest, UNIFORM_BYTES};
use super::shader::{Access, Shader, TEXTURE_WIDTH};
use crate::device::DeviceBuffer;
use crate::error::{Error, Result, checked_product};
use crate::ops::{BufferId, Precision, Program, Region, Role, TableOffset};

/// What uniforms are aligned to: WebGPU's default for a dynamic offset, which no adapter exceeds.
const UNIFORM_ALIGNMENT: usize = 256;

/// A storage buffer of a dispatch, in the order of the shader's group 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Binding {
    /// A program's buffer, read.
    Read(BufferId),
    /// A program's buffer, written or changed.
    ReadWrite(BufferId),
    /// The table of `u32`, read; its first words are the seed.
    Table,
    /// The plan's scratch buffer, read: see [`Recorder::reserve_scratch`].
    ScratchRead,
    /// The plan's scratch buffer, written.
    ScratchWrite,
    /// A copy of a program's buffer as a texture, read: see [`Recorder::has_texture`].
    Texture(BufferId),
}

impl Binding {
    /// How a dispatch of `program` uses it.
    pub(crate) fn access(self, program: &Program) -> Access {
        match self {
            Self::Read(_) | Self::Table | Self::ScratchRead => Access::Read,
            Self::ReadWrite(_) | Self::ScratchWrite => Access::ReadWrite,
            Self::Texture(id) => Access::Texture(precision(program, id)),
        }
    }
}

/// How a buffer is stored; another program's is refused elsewhere.
fn precision(program: &Program, buffer: BufferId) -> Precision {
    let spec = program.buffers().get(buffer.0);
    spec.map_or(Precision::F32, |spec| spec.precision)
}

/// One dispatch as a kernel describes it.
#[derive(Debug)]
pub(crate) struct Dispatch<'a> {
    /// The shader, with entry point `main`.
    pub(crate) shader: &'a Shader,
    /// Override constants.
    pub(crate) overrides: &'a [(&'static str, f64)],
    /// The uniform, at most [`UNIFORM_BYTES`]; equal ones are stored once.
    pub(crate) uniform: &'a [u8],
    /// For `lib/step.wgsl`: dispatches that differ only in this number share uniform and bind group.
    pub(crate) step: Option<u32>,
    /// The storage buffers.
    pub(crate) bindings: &'a [Binding],
    /// How many workgroups; with a zero nothing is recorded.
    pub(crate) workgroups: [u32; 3],
    /// About how many multiply-adds, for the bound on one submission's work.
    pub(crate) cost: u64,
}

/// A dispatch as data; indices into the recording's lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded {
    pub(crate) pipeline: usize,
    pub(crate) group: usize,
    pub(crate) uniform: u32,
    pub(crate) step: u32,
    pub(crate) workgroups: [u32; 3],
    pub(crate) cost: u64,
}

/// Everything that kernels recorded for a program.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The program's table and what kernels appended.
    pub(crate) words: Vec<u32>,
    pub(crate) pipelines: Vec<PipelineRequest>,
    /// Storage buffers of each bind group.
    pub(crate) groups: Vec<Vec<Binding>>,
    /// Uniforms, each aligned; behind them comes room for the last one's binding.
    pub(crate) uniforms: Vec<u8>,
    /// Relative steps in use: `0..steps`.
    pub(crate) steps: u32,
    /// Elements of the scratch buffer.
    pub(crate) scratch: usize,
    pub(crate) sections: [Vec<Recorded>; 4],
}

impl Recording {
    /// Whether a dispatch of the section binds this.
    pub(crate) fn uses(&self, section: usize, wanted: Binding) -> bool {
        let mut commands = self.sections[section].iter();
        commands.any(|command| self.groups[command.group].contains(&wanted))
    }

    /// Whether a section writes a buffer that it also reads as a texture: that would lag behind.
    pub(crate) fn reads_what_it_writes(&self) -> bool {
        let textures = self.groups.iter().flatten();
        textures.copied().any(|binding| match binding {
            Binding::Texture(id) => (0..self.sections.len()).any(|section| {
                self.uses(section, binding) && self.uses(section, Binding::ReadWrite(id))
            }),
            _ => false,
        })
    }
}

/// What a kernel records into.
#[derive(Debug)]
pub(crate) struct Recorder<'a> {
    loader: &'a Loader,
    program: &'a Program,
    external: &'a [(BufferId, DeviceBuffer)],
    textures: bool,
    forced: Option<Choice>,
    recording: Recording,
    section: usize,
    pipelines: HashMap<PipelineKey, usize>,
    groups: HashMap<Vec<Binding>, usize>,
    uniforms: HashMap<Vec<u8>, u32>,
}

impl<'a> Recorder<'a> {
    /// For a program whose `external` buffers are the caller's.
    pub(crate) fn new(
        loader: &'a Loader,
        program: &'a Program,
        external: &'a [(BufferId, DeviceBuffer)],
    ) -> Self {
        Self {
            loader,
            program,
            external,
            textures: true,
            forced: None,
            recording: Recording {
                words: program.words().to_vec(),
                pipelines: Vec::new(),
                groups: Vec::new(),
                uniforms: Vec::new(),
                steps: 1,
                scratch: 0,
                sections: Default::default(),
            },
            section: 0,
            pipelines: HashMap::new(),
            groups: HashMap::new(),
            uniforms: HashMap::new(),
        }
    }

    /// The same, with no buffer read as a texture.
    pub(crate) fn without_textures(self) -> Self {
        Self {
            textures: false,
            ..self
        }
    }

    /// The same, with all recurrences as the tuner says.
    pub(crate) fn with_choice(self, choice: Option<Choice>) -> Self {
        Self {
            forced: choice,
            ..self
        }
    }

    /// Where the dispatches that follow belong.
    pub(crate) fn section(&mut self, section: usize) {
        self.section = section;
    }

    pub(crate) fn finish(self) -> Recording {
        self.recording
    }

    /// The device's limits.
    pub(crate) fn limits(&self) -> &wgpu::Limits {
        &self.loader.context.limits
    }

    /// What the caller asked of the device: strategy, budget of a submission.
    pub(crate) fn options(&self) -> &GpuOptions {
        &self.loader.context.options
    }

    /// The smallest subgroup that the kernels with broadcasts may meet; `None` where they cannot run: they need eight lanes.
    pub(crate) fn subgroup_size(&self) -> Option<usize> {
        let smallest = self.loader.context.info.subgroup_min_size as usize;
        let usable = self.options().subgroups
            && self
                .loader
                .context
                .device
                .features()
                .contains(wgpu::Features::SUBGROUP);
        (usable && smallest >= 8).then_some(smallest)
    }

    /// The threads that a software adapter computes with, as far as the system tells; `None` for a GPU.
    pub(crate) fn software_threads(&self) -> Option<usize> {
        // Asked once: the answer is in files, and every matrix product wants it.
        static THREADS: LazyLock<usize> =
            LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
        (self.loader.context.info.device_type == wgpu::DeviceType::Cpu).then(|| *THREADS)
    }

    /// Whether kernels can read a buffer through a copy as a texture: weights, which few sections write.
    pub(crate) fn can_texture(&self, buffer: BufferId) -> bool {
        let limit = self.limits().max_texture_dimension_2d as usize;
        self.textures
            && self.program.buffers().get(buffer.0).is_some_and(|spec| {
                spec.role == Role::Packed
                    && spec.len.is_multiple_of(4)
                    && self.limits().max_storage_textures_per_shader_stage > 0
                    && TEXTURE_WIDTH <= limit
                    && spec.len.div_ceil(4 * TEXTURE_WIDTH) <= limit
            })
    }

    /// Whether kernels that are not tuned do so: on a software adapter with subgroups. Mesa's takes 27 to 37 ns there for
    /// eight lanes' vec4s, 257 ns from a storage buffer.
    pub(crate) fn has_texture(&self, buffer: BufferId) -> bool {
        let suits = self.subgroup_size().is_some() && self.software_threads().is_some();
        suits && self.can_texture(buffer)
    }

    /// What the tuner wants to measure.
    pub(crate) fn forced(&self) -> Option<Choice> {
        self.forced
    }

    /// What the tuner found for an operation, by its key.
    pub(crate) fn tuned(&self, key: &str) -> Option<Choice> {
        self.loader.choices.get(key)
    }

    /// How a buffer is stored; another program's is refused elsewhere.
    pub(crate) fn precision(&self, buffer: BufferId) -> Precision {
        precision(self.program, buffer)
    }

    /// The same of a region's buffer, where there is one.
    pub(crate) fn stored(&self, region: impl Into<Option<Region>>) -> Precision {
        let region: Option<Region> = region.into();
        region.map_or(Precision::F32, |region| self.precision(region.buffer))
    }

    /// How what a dispatch binds is stored.
    fn precision_of(&self, binding: Binding) -> Precision {
        match binding {
            Binding::Read(buffer) | Binding::ReadWrite(buffer) => self.precision(buffer),
            // A load from a texture gives `f32` whatever its format.
            Binding::Texture(_) => Precision::F32,
            Binding::Table | Binding::ScratchRead | Binding::ScratchWrite => Precision::F32,
        }
    }

    /// Whether two of the program's buffers are one buffer of the device: the same, or both external and ranges of one.
    pub(crate) fn is_one_buffer(&self, a: BufferId, b: BufferId) -> bool {
        let given = |wanted: BufferId| {
            let mut external = self.external.iter();
            let (_, buffer) = external.find(|(id, _)| *id == wanted)?;
            buffer::slice_of(&self.loader.context, buffer, "external buffer").ok()
        };
        let shared = || Some(given(a)?.buffer() == given(b)?.buffer());
        a == b || shared() == Some(true)
    }

    /// What a buffer is called.
    pub(crate) fn label(&self, buffer: BufferId) -> &str {
        let spec = self.program.buffers().get(buffer.0);
        spec.map_or("?", |spec| &spec.label)
    }

    /// Appends words to the plan's table, for a kernel's own lists.
    pub(crate) fn table(&mut self, words: &[u32]) -> TableOffset {
        let offset = self.recording.words.len();
        self.recording.words.extend_from_slice(words);
        TableOffset(offset)
    }

    /// Makes the plan's scratch buffer at least `len` elements long. It keeps nothing from one operation to the next.
    pub(crate) fn reserve_scratch(&mut self, len: usize) {
        self.recording.scratch = self.recording.scratch.max(len);
    }

    /// Checks that the `elements` from `region` on lie in its buffer and that the index type reaches them.
    pub(crate) fn check(&self, what: &str, region: Region, elements: usize) -> Result<()> {
        let spec = self
            .program
            .buffers()
            .get(region.buffer.0)
            .ok_or(Error::State(
                "an operation names a buffer of another program",
            ))?;
        match region.offset.checked_add(elements) {
            Some(end) if end <= spec.len && end <= u32::MAX as usize => Ok(()),
            _ => Err(Error::shape(
                format!("{what} in buffer `{}`", spec.label),
                format!("a range within {} elements", spec.len),
                format!("{elements} elements from {} on", region.offset),
            )),
        }
    }

    /// Checks rows of `width` elements that lie `stride` apart.
    pub(crate) fn check_rows(
        &self,
        what: &str,
        region: Region,
        [rows, width, stride]: [usize; 3],
    ) -> Result<()> {
        match rows {
            0 => Ok(()),
            _ => self.check(
                what,
                region,
                (rows - 1).saturating_mul(stride).saturating_add(width),
            ),
        }
    }

    /// `len` words of the table from `offset` on.
    pub(crate) fn words(&self, what: &str, offset: TableOffset, len: usize) -> Result<&[u32]> {
        let words = &self.recording.words;
        let end = offset.0.checked_add(len);
        end.and_then(|end| words.get(offset.0..end)).ok_or_else(|| {
            Error::shape(
                format!("table of {what}"),
                format!("{len} words from {} on", offset.0),
                format!("a table of {} words", words.len()),
            )
        })
    }

    /// Checks that `len` words of the table from `offset` on are there and below `bound`.
    pub(crate) fn check_table(
        &self,
        what: &str,
        offset: TableOffset,
        len: usize,
        bound: usize,
    ) -> Result<()> {
        match self
            .words(what, offset, len)?
            .iter()
            .find(|&&word| word as usize >= bound)
        {
            None => Ok(()),
            Some(word) => Err(Error::shape(
                format!("table of {what}"),
                format!("indices below {bound}"),
                word,
            )),
        }
    }

    /// One more than the largest of `len` words of the table from `offset` on: the size of the dimension that they index.
    pub(crate) fn table_bound(&self, what: &str, offset: TableOffset, len: usize) -> Result<usize> {
        self.check_table(what, offset, len, usize::MAX)?;
        let words = self.recording.words.iter().skip(offset.0).take(len);
        Ok(words.max().map_or(0, |&word| word as usize + 1))
    }

    /// The product of `factors` as a number of elements.
    pub(crate) fn count(&self, what: &'static str, factors: &[usize]) -> Result<usize> {
        checked_product(what, factors)
    }

    /// Workgroups for `elements` at `each` a workgroup, spread over x and y because a dimension has few: the shader
    /// counts them with `lib/index.wgsl`.
    pub(crate) fn linear(&self, elements: usize, each: usize) -> Result<[u32; 3]> {
        let count = elements.div_ceil(each);
        let most = self.limits().max_compute_workgroups_per_dimension as usize;
        let x = count.min(most);
        let y = count.div_ceil(x.max(1));
        if y > most {
            return Err(Error::Limit {
                what: "workgroups of a dispatch".to_owned(),
                needed: count as u64,
                limit: (most * most) as u64,
                advice: "use smaller batches",
            });
        }
        Ok([x as u32, y as u32, 1])
    }

    /// How many units of work of this `cost` fit one submission; at least 1.
    pub(crate) fn affordable(&self, cost: u64) -> usize {
        let units = self.options().submit_budget / cost.max(1);
        usize::try_from(units.max(1)).unwrap_or(usize::MAX)
    }

    /// Records a dispatch into the current section.
    pub(crate) fn dispatch(&mut self, dispatch: &Dispatch<'_>) -> Result<()> {
        if dispatch.workgroups.contains(&0) {
            return Ok(());
        }
        self.check_dispatch(dispatch)?;
        let recorded = Recorded {
            pipeline: self.pipeline(dispatch),
            group: self.group(dispatch.bindings),
            uniform: self.uniform(dispatch.uniform)?,
            step: dispatch.step.unwrap_or(0),
            workgroups: dispatch.workgroups,
            cost: dispatch.cost,
        };
        self.recording.steps = self.recording.steps.max(recorded.step.saturating_add(1));
        self.recording.sections[self.section].push(recorded);
        Ok(())
    }

    /// What `wgpu` would refuse later, and with fewer words.
    fn check_dispatch(&self, dispatch: &Dispatch<'_>) -> Result<()> {
        let label = dispatch.shader.label();
        let defect = |text: &str| Err(Error::Device(format!("kernel `{label}`: {text}")));
        let access = |binding: &Binding| binding.access(self.program);
        let declared = dispatch.shader.bindings().iter().copied();
        if !dispatch.bindings.iter().map(access).eq(declared) {
            return defect("its bindings are not those that the shader declares");
        }
        for (binding, declared) in dispatch.bindings.iter().zip(dispatch.shader.precisions()) {
            let stored = self.precision_of(*binding);
            let (Binding::Read(id) | Binding::ReadWrite(id)) = *binding else {
                continue;
            };
            if stored != *declared {
                let buffer = &self.program.spec(id).label;
                return Err(Error::option(
                    "storage",
                    format!(
                        "buffer `{buffer}` is stored in {stored:?}, which kernel `{label}` cannot read or write there"
                    ),
                ));
            }
        }
        if dispatch.uniform.len() != dispatch.shader.uniform_bytes()
            || dispatch.uniform.len() > UNIFORM_BYTES
        {
            return defect("its uniform has another size than the shader's");
        }
        let limits = self.limits();
        let storage = limits.max_storage_buffers_per_shader_stage as usize;
        let groups = limits.max_compute_workgroups_per_dimension;
        let most = dispatch.workgroups.into_iter().max().unwrap_or(0);
        let bindings = dispatch.bindings.iter();
        let buffers = bindings.filter(|binding| access(binding).is_storage());
        let buffers = buffers.count();
        if buffers > storage || most > groups {
            let many = most > groups;
            return Err(Error::Limit {
                what: match many {
                    true => format!("workgroups of `{label}` in one dimension"),
                    false => format!("storage buffers of `{label}`"),
                },
                needed: if many { most.into() } else { buffers as u64 },
                limit: if many { groups.into() } else { storage as u64 },
                advice: "use smaller batches, or an adapter with WebGPU's default limits",
            });
        }
        let conflict = dispatch.bindings.iter().any(|binding| match *binding {
            Binding::Read(buffer) => dispatch.bindings.contains(&Binding::ReadWrite(buffer)),
            Binding::ScratchRead => dispatch.bindings.contains(&Binding::ScratchWrite),
            _ => false,
        });
        match conflict {
            true => defect("it reads and writes the same buffer through different bindings"),
            false => Ok(()),
        }
    }

    fn pipeline(&mut self, dispatch: &Dispatch<'_>) -> usize {
        let request = PipelineRequest {
            shader: dispatch.shader.clone(),
            overrides: dispatch.overrides.to_vec(),
        };
        let list = &mut self.recording.pipelines;
        *self.pipelines.entry(request.key()).or_insert_with(|| {
            list.push(request);
            list.len() - 1
        })
    }

    fn group(&mut self, bindings: &[Binding]) -> usize {
        if let Some(&group) = self.groups.get(bindings) {
            return group;
        }
        self.recording.groups.push(bindings.to_vec());
        let group = self.recording.groups.len() - 1;
        self.groups.insert(bindings.to_vec(), group);
        group
    }

    /// The uniform's byte offset.
    fn uniform(&mut self, bytes: &[u8]) -> Result<u32> {
        if let Some(&offset) = self.uniforms.get(bytes) {
            return Ok(offset);
        }
        let uniforms = &mut self.recording.uniforms;
        let offset = u32::try_from(uniforms.len()).map_err(|_| Error::Overflow {
            what: "parameters of all dispatches",
            detail: format!("{} bytes", uniforms.len()),
        })?;
        uniforms.extend_from_slice(bytes);
        uniforms.resize(uniforms.len().next_multiple_of(UNIFORM_ALIGNMENT), 0);
        self.uniforms.insert(bytes.to_vec(), offset);
        Ok(offset)
    }
}
