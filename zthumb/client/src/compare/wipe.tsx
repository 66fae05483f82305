// Two images over one another: what is left of the line is the one, what is right of it the other. Both zoom together.

import { useState } from "react";
import { Button, Label, Slider, SliderOutput, SliderThumb, SliderTrack } from "react-aria-components";
import { address } from "../api/client";
import styles from "./compare-page.module.css";

export interface Side {
  title: string;
  image: string;
}

interface Props {
  left: Side;
  right: Side;
  onClose: () => void;
}

export function Wipe({ left, right, onClose }: Props) {
  const [line, setLine] = useState(50);
  const [zoom, setZoom] = useState(1);
  const scaled = { transform: `scale(${zoom})` };
  return (
    <section className="panel" aria-label={`${left.title} and ${right.title}`}>
      <div className="row">
        <strong>{left.title}</strong>
        <span className="quiet">left of the line,</span>
        <strong>{right.title}</strong>
        <span className="quiet">right of it</span>
        <Button className="react-aria-Button small" onPress={onClose}>
          Close
        </Button>
      </div>
      <div className={styles.wipe}>
        <img src={address(right.image)} alt={right.title} style={scaled} />
        <div className={styles.over} style={{ clipPath: `inset(0 ${100 - line}% 0 0)` }}>
          <img src={address(left.image)} alt={left.title} style={scaled} />
        </div>
        <div className={styles.line} style={{ left: `${line}%` }} />
      </div>
      <div className={styles.sliders}>
        <Slider value={line} onChange={setLine}>
          <Label>Line</Label>
          <SliderOutput>{Math.round(line)} %</SliderOutput>
          <SliderTrack>
            <SliderThumb />
          </SliderTrack>
        </Slider>
        <Slider value={zoom} onChange={setZoom} minValue={1} maxValue={8} step={0.5}>
          <Label>Zoom</Label>
          <SliderOutput>{zoom}×</SliderOutput>
          <SliderTrack>
            <SliderThumb />
          </SliderTrack>
        </Slider>
      </div>
    </section>
  );
}
