// Labelled controls with the fault of their value beside them.

import {
  Button,
  FieldError,
  Group,
  Input,
  Label,
  ListBox,
  ListBoxItem,
  NumberField,
  Popover,
  Select,
  SelectValue,
  TextArea,
  TextField,
} from "react-aria-components";

interface Common {
  label: string;
  fault?: string;
}

interface TextProps extends Common {
  value: string;
  onChange: (value: string) => void;
  rows?: number;
  placeholder?: string;
  onSubmit?: () => void;
  /** Called when one leaves it. */
  onLeave?: () => void;
}

/** Text of one line, or of several with `rows`; Ctrl+Enter submits. */
export function TextBox({ label, fault, value, onChange, rows, placeholder, onSubmit, onLeave }: TextProps) {
  const onKeyDown = (event: { key: string; ctrlKey: boolean; metaKey: boolean }) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) onSubmit?.();
  };
  return (
    <TextField
      className="field"
      value={value}
      onChange={onChange}
      isInvalid={fault !== undefined}
      onKeyDown={onKeyDown}
      onBlur={onLeave}
    >
      <Label>{label}</Label>
      {rows ? <TextArea rows={rows} placeholder={placeholder} /> : <Input placeholder={placeholder} />}
      <FieldError>{fault}</FieldError>
    </TextField>
  );
}

interface NumberProps extends Common {
  value: number | undefined;
  onChange: (value: number | undefined) => void;
  min?: number;
  max?: number;
  step?: number;
  placeholder?: string;
  /** Without buttons to count up and down, where there is little room. */
  isPlain?: boolean;
  /** Digits after the point that are kept. */
  digits?: number;
}

/** A number, or nothing: then the server's own default is used, which `placeholder` shows. */
export function NumberBox({
  label,
  fault,
  value,
  onChange,
  min,
  max,
  step,
  placeholder,
  isPlain,
  digits = 3,
}: NumberProps) {
  return (
    <NumberField
      className="field"
      value={value ?? Number.NaN}
      onChange={(next) => onChange(Number.isNaN(next) ? undefined : next)}
      minValue={min}
      maxValue={max}
      step={step}
      isInvalid={fault !== undefined}
      formatOptions={{ useGrouping: false, maximumFractionDigits: digits }}
    >
      <Label>{label}</Label>
      <Group>
        <Input placeholder={placeholder} />
        {!isPlain && <Button slot="decrement">−</Button>}
        {!isPlain && <Button slot="increment">+</Button>}
      </Group>
      <FieldError>{fault}</FieldError>
    </NumberField>
  );
}

interface ChoiceProps extends Common {
  value: string | undefined;
  onChange: (value: string | undefined) => void;
  options: readonly string[];
  /** What options are called that are not called as they are. */
  labels?: Readonly<Record<string, string>>;
  /** What nothing chosen means. */
  none: string;
}

const NONE = "";

/** One of several options, or none of them. */
export function Choice({ label, fault, value, onChange, options, labels = {}, none }: ChoiceProps) {
  return (
    <Select
      className="field react-aria-Select"
      value={value ?? NONE}
      onChange={(key) => onChange(key === NONE || key === null ? undefined : String(key))}
      isInvalid={fault !== undefined}
    >
      <Label>{label}</Label>
      <Button>
        <SelectValue />
        <span aria-hidden="true">▾</span>
      </Button>
      <FieldError>{fault}</FieldError>
      <Popover>
        <ListBox>
          <ListBoxItem id={NONE} textValue={none}>
            {none}
          </ListBoxItem>
          {options.map((option) => (
            <ListBoxItem key={option} id={option} textValue={labels[option] ?? option}>
              {labels[option] ?? option}
            </ListBoxItem>
          ))}
        </ListBox>
      </Popover>
    </Select>
  );
}
