// Runs scripts of docs/xmatters as xMatters does, one case after another, each in a world of its own.
//
// In: a JSON list of cases on stdin, each {"script": path, "globals": {name: value}, "answers": [answer, ...],
// "before": source}. Out: a JSON list, each {"output", "logged", "posted", "error"}.
//
// The world has ECMAScript 5.1's globals, xMatters' own `output`, `console` and `http`, and a case's own globals, such
// as `request`, `input` and `constants`. An answer is the endpoint's; for {"throws": words} the request throws.
import { readFileSync } from 'node:fs';
import { createContext, runInContext } from 'node:vm';

const OF_THE_GLOBAL = `Array Boolean Date Error EvalError Function Infinity JSON Math NaN Number Object RangeError
  ReferenceError RegExp String SyntaxError TypeError URIError decodeURI decodeURIComponent encodeURI encodeURIComponent
  isFinite isNaN parseFloat parseInt undefined console`;
const OF_OBJECTS = {
  Object: `length name prototype create defineProperties defineProperty freeze getOwnPropertyDescriptor
    getOwnPropertyNames getPrototypeOf isExtensible isFrozen isSealed keys preventExtensions seal`,
  Array: 'length name prototype isArray',
  String: 'length name prototype fromCharCode',
  Number: 'length name prototype MAX_VALUE MIN_VALUE NEGATIVE_INFINITY NaN POSITIVE_INFINITY',
  'Array.prototype': `length constructor concat every filter forEach indexOf join lastIndexOf map pop push reduce
    reduceRight reverse shift slice some sort splice toLocaleString toString unshift`,
  'String.prototype': `length constructor charAt charCodeAt concat indexOf lastIndexOf localeCompare match replace search
    slice split substring toLocaleLowerCase toLocaleUpperCase toLowerCase toString toUpperCase trim valueOf`,
};

const WORLD = `
  var output = {};
  var __logged = [];
  var __posted = [];
  var console = { log: function (words) { __logged.push(String(words)); } };
  var http = {
    request: function (options) {
      return {
        write: function (body) {
          __posted.push({ options: options, body: body });
          var answer = __answers.shift();
          if (answer.throws) {
            throw new Error(answer.throws);
          }
          return answer;
        }
      };
    }
  };
`;

function listed(names) {
  return JSON.stringify(names.trim().split(/\s+/));
}

// Removes globals and members newer than ECMAScript 5.1. Symbols stay, since the engine itself needs them.
function trimming() {
  const objects = Object.entries(OF_OBJECTS).map(([name, kept]) => `__trim(${name}, ${listed(kept)});`);
  return `(function (world) {
    function __trim(object, kept) {
      Object.getOwnPropertyNames(object).forEach(function (name) {
        if (kept.indexOf(name) < 0) { delete object[name]; }
      });
    }
    ${objects.join('\n')}
    __trim(world, ${listed(OF_THE_GLOBAL)});
  }(this));`;
}

function ran({ script, globals, answers = [], before = '' }) {
  const world = createContext({}, { codeGeneration: { strings: false, wasm: false } });
  const stated = Object.entries({ ...globals, __answers: answers });
  // Values are parsed inside the world, so that they have its prototypes.
  const made = stated.map(([name, value]) => `var ${name} = JSON.parse(${JSON.stringify(JSON.stringify(value))});`);
  runInContext(trimming() + made.join('\n') + WORLD + before, world);
  let error = null;
  try {
    runInContext(readFileSync(script, 'utf8'), world, { filename: script, timeout: 10000 });
  } catch (thrown) {
    error = `${thrown.name}: ${thrown.message}`;
  }
  const seen = runInContext('JSON.stringify({ output: output, logged: __logged, posted: __posted })', world);
  return { ...JSON.parse(seen), error };
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, 'utf8')).map(ran)));
