// Which prompts an adapter is judged with: those of its base, or a set of one's own.

import { useRecipes } from "../api/recipes";
import { Choice } from "../components/fields";

interface Props {
  value: string | undefined;
  onChange: (prompts: string | undefined) => void;
}

export function PromptsChoice({ value, onChange }: Props) {
  const { prompts } = useRecipes();
  return (
    <Choice
      label="Prompts of the evaluation"
      value={value}
      onChange={onChange}
      options={prompts}
      none="those of the base"
    />
  );
}
