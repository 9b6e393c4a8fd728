'use strict';

/**
 * The borders between the folders of src/. Type-only imports count (tsPreCompilationDeps), because a type is a
 * dependency too. Each folder lists what it may import; everything else in src/ is out of bounds.
 *
 * @type {Record<string, string[]>}
 */
const mayImport = {
  core: [],
  engine: ['core'],
  protocol: ['core'],
  postgres: ['core'],
  dispatch: ['core', 'engine'],
  bus: ['core', 'engine', 'dispatch'],
  client: ['core', 'protocol'],
  server: ['core', 'engine', 'dispatch', 'bus'],
  sources: ['core', 'postgres'],
  gateway: ['core', 'engine', 'protocol', 'bus', 'server'],
  testing: ['core', 'engine', 'dispatch', 'bus', 'engines/memory'],
  // cli is the composition root: it may import anything.
};

/** What must run anywhere: no Node built-in, and no package except the types of Standard Schema. */
const portable = '^src/(core|engine|dispatch|bus|protocol|client|engines/memory)/|^src/index\\.ts$';

/** Tests stand beside what they test and may import whatever they need. */
const tests = '\\.test\\.ts$';

const folderRules = Object.entries(mayImport).map(([folder, allowed]) => ({
  name: `${folder}-border`,
  comment: `src/${folder} may import ${allowed.length === 0 ? 'nothing outside itself' : allowed.join(', ')}.`,
  severity: 'error',
  from: { path: `^src/${folder}/`, pathNot: tests },
  to: { path: '^src/', pathNot: [folder, ...allowed].map((name) => `^src/${name}/`) },
}));

module.exports = {
  forbidden: [
    ...folderRules,
    {
      name: 'index-border',
      comment: 'The entry `carillon` is the core and the bus; engines, server and gateway have entries of their own.',
      severity: 'error',
      from: { path: '^src/index\\.ts$' },
      to: { path: '^src/', pathNot: '^src/(core|engine|dispatch|bus)/' },
    },
    {
      name: 'engines-border',
      comment:
        'An engine imports core, engine, what is known of its database (src/<name>), and its own folder, never another engine.',
      severity: 'error',
      from: { path: '^src/engines/([^/]+)/', pathNot: tests },
      to: { path: '^src/', pathNot: ['^src/(core|engine)/', '^src/$1/', '^src/engines/$1/'] },
    },
    {
      name: 'entry-not-from-inside',
      comment: 'src/index.ts is for users of the package; inside it, import the module that is meant.',
      severity: 'error',
      from: { path: '^src/', pathNot: `^src/cli/|${tests}` },
      to: { path: '^src/index\\.ts$' },
    },
    {
      name: 'portable-no-node',
      comment: 'These folders run on any platform: no Node built-ins.',
      severity: 'error',
      from: { path: portable, pathNot: tests },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'portable-no-packages',
      comment: 'These folders depend on no package but the types of Standard Schema.',
      severity: 'error',
      from: { path: portable, pathNot: tests },
      to: { path: 'node_modules', pathNot: 'node_modules/@standard-schema/spec/' },
    },
    {
      name: 'no-dev-dependency',
      comment: 'What is published must not import what is installed for development only.',
      severity: 'error',
      from: { path: '^src/', pathNot: tests },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'no-self-import',
      comment: 'The source imports itself by relative path, not by the name of the package.',
      severity: 'error',
      from: { path: '^src/', pathNot: tests },
      to: { path: '^dist/|^carillon(/|$)' },
    },
    {
      name: 'examples-public',
      comment: 'Examples use the package as its users do: by its name.',
      severity: 'error',
      from: { path: '^examples/' },
      // A database of one's own is what a test of an example needs, not what a user has.
      to: {
        path: '^(src|dist|test|scripts)/',
        pathNot: '^test/postgres/fresh-database\\.ts$',
        dependencyTypesNot: ['aliased'],
      },
    },
    {
      name: 'no-cycles',
      comment: 'Modules that need each other are one module, or lack a third.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-orphans',
      comment: 'A module that nothing imports and that imports nothing. Entries and worker threads are no orphans.',
      severity: 'error',
      from: {
        orphan: true,
        pathNot: [tests, '\\.d\\.ts$', '^src/index\\.ts$', '^src/cli/main\\.ts$', '^src/engines/.*worker\\.ts$'],
      },
      to: {},
    },
    {
      name: 'not-to-test',
      comment: 'Nothing imports a test file.',
      severity: 'error',
      from: {},
      to: { path: tests },
    },
    {
      name: 'unresolvable',
      comment: 'An import that leads nowhere.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: '^(node_modules|dist)' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'types', 'node', 'default'],
      mainFields: ['module', 'main', 'types'],
    },
    reporterOptions: { text: { highlightFocused: true } },
  },
};
