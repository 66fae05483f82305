// The recipe: chosen, changed key by key, with the memory and time that it would need beside it.

import { useMutation, useQuery } from "@tanstack/react-query";
import { Button } from "react-aria-components";
import { api, read } from "../api/client";
import { useRecipes } from "../api/recipes";
import { Choice } from "../components/fields";
import { Lines } from "./lines";
import { RecipeField } from "./recipe-field";
import { count, ESSENTIAL, type Field, type Group, groups, type Json, type Values, withChange } from "./recipe-fields";
import styles from "./train-page.module.css";

interface Props {
  name: string;
  onChoose: (name: string) => void;
  changes: Values;
  onChange: (changes: Values) => void;
}

export function RecipePanel({ name, onChoose, changes, onChange }: Props) {
  const { recipes } = useRecipes();
  const form = useQuery({
    queryKey: ["recipe", name],
    queryFn: () => read(api.GET("/recipes/{name}", { params: { path: { name } } })),
  });
  const estimate = useMutation({
    mutationFn: () => read(api.POST("/recipes/estimate", { body: { recipe: name, changes } })),
  });
  const chosen = recipes.find((recipe) => recipe.name === name);
  const values = (form.data?.values ?? {}) as Values;
  const set = (field: Field, value: Json) => {
    estimate.reset();
    onChange(withChange(changes, values, field.path, value));
  };
  const found = form.data ? groups(form.data.schema) : [];
  const essential = found.flatMap((group) => group.fields).filter((field) => ESSENTIAL.includes(field.path.join(".")));
  const isChanged = count(changes);
  return (
    <section className={`panel ${styles.part}`} aria-labelledby="recipe">
      <h2 id="recipe">2 · Recipe</h2>
      <Choice
        label="Recipe"
        value={name}
        onChange={(next) => next && onChoose(next)}
        options={recipes.map((recipe) => recipe.name)}
        none="choose one"
      />
      {chosen && (
        <p className="quiet">
          {chosen.summary} Base: {chosen.base}, {chosen.resolution} px.
        </p>
      )}
      {form.isError && <p className="fault">{form.error.message}</p>}
      <div className={styles.fields}>
        {essential.map((field) => (
          <RecipeField key={field.path.join(".")} field={field} recipe={values} changes={changes} onChange={set} />
        ))}
      </div>
      <details hidden={!form.data}>
        <summary>All {found.reduce((sum, group) => sum + group.fields.length, 0)} keys</summary>
        {found.map((group) => (
          <GroupFields key={group.name} group={group} recipe={values} changes={changes} onChange={set} />
        ))}
      </details>
      <div className="row">
        <Button onPress={() => estimate.mutate()} isDisabled={estimate.isPending}>
          {estimate.isPending ? "Estimating…" : "What will it need?"}
        </Button>
        {isChanged > 0 && (
          <Button onPress={() => onChange({})}>
            Undo {isChanged} {isChanged === 1 ? "change" : "changes"}
          </Button>
        )}
      </div>
      {estimate.isError && <Lines lines={estimate.error.message.split("\n")} isFault />}
      {estimate.data && <Lines lines={estimate.data.lines} />}
    </section>
  );
}

interface GroupProps {
  group: Group;
  recipe: Values;
  changes: Values;
  onChange: (field: Field, value: Json) => void;
}

function GroupFields({ group, recipe, changes, onChange }: GroupProps) {
  return (
    <fieldset className={styles.group}>
      <legend>{group.name}</legend>
      <details>
        <summary className="quiet">what they mean</summary>
        {group.description.split("\n\n").map((paragraph) => (
          <p key={paragraph} className="quiet">
            {paragraph}
          </p>
        ))}
      </details>
      <div className={styles.fields}>
        {group.fields.map((field) => (
          <RecipeField key={field.path.join(".")} field={field} recipe={recipe} changes={changes} onChange={onChange} />
        ))}
      </div>
    </fieldset>
  );
}
