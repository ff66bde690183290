// What a value must be like, in words and as a table that opens field by field.

import { foldable, make } from "./elements.js";
import { codeLink, inline, markdown } from "./markdown.js";

let root = {};

/** Takes the document that references lead into. */
export function referTo(document) {
  root = document;
}

/** What `part` refers to, if it is a reference. Words and their default, which stand in two parts, become one. */
export function resolve(part = {}) {
  if (part.$ref) {
    const names = part.$ref
      .slice(2)
      .split("/")
      .map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
    return resolve(names.reduce((place, name) => place[name], root));
  }
  const words = part.allOf?.find((one) => one.enum);
  return words ? { ...Object.assign({}, ...part.allOf, words), description: part.description } : part;
}

const nameOf = (schema) => schema.$ref?.split("/").pop();
const choices = (schema) => schema.oneOf ?? schema.anyOf;

/** The type of a value in words. */
export function typeOf(given = {}) {
  const name = nameOf(given);
  if (name) return [codeLink(name)];
  const schema = resolve(given);
  if (choices(schema)) return choices(schema).flatMap((one, nth) => [nth > 0 ? " or " : "", ...typeOf(one)]);
  if (schema.type === "array") return ["list of ", ...typeOf(schema.items)];
  if (schema.allOf) return schema.allOf.filter(nameOf).flatMap((one, nth) => [nth > 0 ? " and " : "", ...typeOf(one)]);
  const types = [schema.type ?? "anything"].flat().join(" or ");
  return [schema.format ? `${types} (${schema.format})` : types];
}

function between(least, most, what) {
  if (least === undefined && most === undefined) return undefined;
  if (least === 1 && most === undefined && what) return "not empty";
  if (least === undefined) return `at most ${most}${what}`;
  if (most === undefined) return `at least ${least}${what}`;
  return least === most ? `${least}${what}` : `${least} to ${most}${what}`;
}

/** What else holds for a value. */
export function factsOf(given = {}) {
  const schema = resolve(given);
  const listed = schema.type === "array" ? resolve(schema.items).enum : undefined;
  const words = schema.enum ?? (schema.const === undefined ? listed : [schema.const]);
  const facts = [
    words &&
      make(
        "span.words",
        {},
        words.flatMap((word, nth) => [nth > 0 ? " " : "", make("code", {}, String(word))]),
      ),
    between(schema.minLength, schema.maxLength, " characters"),
    between(schema.minimum, schema.maximum, ""),
    between(schema.minItems, schema.maxItems, " items"),
    schema.default !== undefined && ["default ", make("code", {}, JSON.stringify(schema.default))],
    schema.pattern && ["like ", make("code", {}, schema.pattern)],
    schema.writeOnly && "only written",
    schema.readOnly && "only read",
  ];
  return facts.filter(Boolean).map((fact) => make("span.fact", {}, fact));
}

/** The fields of an object, also of one that is put together of others. */
function fieldsOf(given) {
  const schema = resolve(given);
  const parts = (schema.allOf ?? []).map(fieldsOf);
  return {
    properties: Object.assign({}, ...parts.map((part) => part.properties), schema.properties),
    required: [...parts.flatMap((part) => part.required), ...(schema.required ?? [])],
  };
}

/** The objects that a value is made of, each by its name, so that their fields can be shown. */
function objectsIn(given = {}) {
  const schema = resolve(given);
  if (choices(schema)) return choices(schema).flatMap(objectsIn);
  if (schema.type === "array") return objectsIn(schema.items);
  const { properties } = fieldsOf(schema);
  if (Object.keys(properties).length > 0) return [[nameOf(given) ?? schema.title ?? "object", schema]];
  const values = schema.additionalProperties;
  return values instanceof Object ? objectsIn(values) : [];
}

/** A schema as it stands: its fields, or what else it is. */
export function schemaView(given) {
  const schema = resolve(given);
  const objects = objectsIn(given);
  if (objects.length === 0) return make("p", {}, typeOf(schema), ...factsOf(schema));
  if (objects.length === 1 && !choices(schema)) return fieldTable(objects[0][1]);
  return objects.map(([name, object]) => foldable(".part", {}, make("code", {}, name), () => fieldTable(object)));
}

function fieldTable(object) {
  const { properties, required } = fieldsOf(object);
  const rows = Object.entries(properties).map(([name, field]) => {
    const parts = objectsIn(field).map(([part, inner]) =>
      foldable(".part", {}, ["fields of ", make("code", {}, part)], () => fieldTable(inner)),
    );
    const mark = required.includes(name) ? make("span.required", {}, "required") : "";
    const said = field.description ?? resolve(field).description;
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, make("code", {}, name), mark, make("span.type", {}, typeOf(field))),
      make("td", {}, markdown(said), factsOf(field), parts),
    );
  });
  return make("table.fields", {}, make("tbody", {}, rows));
}

/** A value as an example: the given one, or one that is made up from the schema. */
export function exampleOf(given = {}, depth = 0) {
  if (given.example !== undefined) return given.example;
  const schema = resolve(given);
  if (schema.example !== undefined) return schema.example;
  if (schema.examples?.length > 0) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const choice = choices(schema)?.find((one) => one.type !== "null");
  if (choice) return exampleOf(choice, depth);
  const type = [schema.type ?? "object"].flat()[0];
  if (type === "array") return depth > 3 ? [] : [exampleOf(schema.items, depth + 1)];
  if (type === "object") {
    const { properties } = fieldsOf(schema);
    const shown = depth > 3 ? [] : Object.entries(properties);
    return Object.fromEntries(shown.map(([name, field]) => [name, exampleOf(field, depth + 1)]));
  }
  return { string: "", integer: schema.minimum ?? 0, number: 0, boolean: false }[type] ?? null;
}

/** Of an example only what a request cannot do without. */
export function leastOf(schema, example) {
  const { required } = fieldsOf(resolve(schema));
  if (!(example instanceof Object) || Array.isArray(example)) return example;
  return Object.fromEntries(
    required.map((name) => [name, example[name] ?? exampleOf(fieldsOf(schema).properties[name])]),
  );
}

/** The fields of a form, with what they must be like. */
export function formFields(schema) {
  const { properties, required } = fieldsOf(schema);
  return Object.entries(properties).map(([name, field]) => ({
    name,
    schema: field,
    required: required.includes(name),
  }));
}

/** A short text about a parameter or a field. */
export const said = (text) => make("span.said", {}, inline(text ?? ""));
