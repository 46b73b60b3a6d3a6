// Find the references of definitions in a TypeScript package with its language service:
// NODE_PATH=node_modules node typescript_sites.cjs DIRECTORY NAMES > sites.json
// Prints a sample of the declarations in modules, classes, interfaces, enums and namespaces, each with its sites.

const fs = require("fs");
const path = require("path");
const ts = require("typescript");

const SEED = 7;
const root = path.resolve(process.argv[2]);
const count = Number(process.argv[3]);

function listFiles(directory) {
  return fs.readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const found = path.join(directory, entry.name);
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : listFiles(found);
    return /\.tsx?$/.test(entry.name) ? [found] : [];
  });
}

const files = listFiles(root).sort();
const options = { allowJs: false, noResolve: false, jsx: ts.JsxEmit.Preserve, target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, allowImportingTsExtensions: true };
const service = ts.createLanguageService({
  getScriptFileNames: () => files,
  getScriptVersion: () => "1",
  getScriptSnapshot: (name) =>
    fs.existsSync(name) ? ts.ScriptSnapshot.fromString(fs.readFileSync(name, "utf8")) : undefined,
  getCurrentDirectory: () => root,
  getCompilationSettings: () => options,
  getDefaultLibFileName: (given) => ts.getDefaultLibFilePath(given),
  fileExists: ts.sys.fileExists,
  readFile: ts.sys.readFile,
  readDirectory: ts.sys.readDirectory,
  directoryExists: ts.sys.directoryExists,
});

function isRecorded(node) {
  if (ts.isVariableDeclaration(node)) return ts.isSourceFile(node.parent.parent.parent);
  return ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node) ||
    ts.isEnumDeclaration(node) || ts.isEnumMember(node) || ts.isTypeAliasDeclaration(node) ||
    ts.isModuleDeclaration(node) || ts.isMethodDeclaration(node) || ts.isPropertyDeclaration(node) ||
    ts.isGetAccessor(node) || ts.isSetAccessor(node) || ts.isMethodSignature(node) || ts.isPropertySignature(node);
}

const isDeclaration = (node) => isRecorded(node) || ts.isParameter(node) || ts.isVariableDeclaration(node) ||
  ts.isPropertyAssignment(node) || ts.isBindingElement(node) || ts.isShorthandPropertyAssignment(node);

// Whether a position is in a comment, which the language service searches, too.
function isComment(source, position) {
  let node = source;
  for (;;) {
    const inner = ts.forEachChild(node, (child) =>
      child.getFullStart() <= position && position < child.getEnd() ? child : undefined);
    if (!inner) return position < node.getStart(source);
    node = inner;
  }
}

const timesDefined = new Map();

function listDefinitions(program) {
  const found = [];
  for (const file of files) {
    const source = program.getSourceFile(file);
    const visit = (node) => {
      if (isDeclaration(node) && node.name && ts.isIdentifier(node.name)) {
        timesDefined.set(node.name.text, (timesDefined.get(node.name.text) ?? 0) + 1);
      }
      if (isRecorded(node) && node.name && ts.isIdentifier(node.name)) {
        found.push({ name: node.name.text, kind: ts.SyntaxKind[node.kind], file, position: node.name.getStart(source) });
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  return found;
}

function shuffle(values) {
  let state = SEED;
  for (let index = values.length - 1; index > 0; index--) {
    state = (state * 1103515245 + 12345) % 2147483648;
    const other = state % (index + 1);
    [values[index], values[other]] = [values[other], values[index]];
  }
  return values;
}

const program = service.getProgram();
const place = (file, position) => {
  const { line } = program.getSourceFile(file).getLineAndCharacterOfPosition(position);
  return [path.relative(root, file), line + 1];
};
const distinct = new Map();
for (const entry of shuffle(listDefinitions(program))) if (!distinct.has(entry.name)) distinct.set(entry.name, entry);

const found = [...distinct.values()].slice(0, count).map(({ name, kind, file, position }) => {
  const sites = [];
  const definitions = [];
  for (const symbol of service.findReferences(file, position) ?? []) {
    for (const reference of symbol.references) {
      if (!files.includes(reference.fileName)) continue;
      const source = program.getSourceFile(reference.fileName);
      if (isComment(source, reference.textSpan.start)) continue;
      (reference.isDefinition ? definitions : sites).push(place(reference.fileName, reference.textSpan.start));
    }
  }
  const [relative, line] = place(file, position);
  return { name, kind, path: relative, line, times_defined: timesDefined.get(name), sites, definitions };
});
process.stdout.write(JSON.stringify(found, null, 0));
