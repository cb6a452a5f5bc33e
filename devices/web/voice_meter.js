// How loud a voice is, as a bar: proof that the microphone works, or that the other side is heard.
//
//   const meter = new VoiceMeter(element);      sets --level, 0 to 1, and data-loud="1" while somebody speaks
//   meter.follow(track);                        another track, or null: the bar is empty

const EVERY_MS = 80, FLOOR_DBFS = -60, SPEECH_DBFS = -42;

export class VoiceMeter {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {MediaStreamAudioSourceNode | null} */
    this.source = null;
    /** @type {AnalyserNode | null} */
    this.analyser = null;
    /** @type {MediaStreamTrack | null} */
    this.track = null;
    this.samples = new Float32Array(1024);
    setInterval(() => this.#measure(), EVERY_MS);
  }

  /** @param {MediaStreamTrack | null} track */
  follow(track) {
    if (track === this.track) return;
    this.source?.disconnect();
    this.source = null;
    this.track = track;
    if (!track) return;
    try {
      this.context ??= new AudioContext();
      this.analyser ??= this.context.createAnalyser();
      this.analyser.fftSize = this.samples.length;
      this.source = this.context.createMediaStreamSource(new MediaStream([track]));
      this.source.connect(this.analyser);
    } catch { this.source = null; }              // no sound on this computer: the bar stays empty
  }

  #measure() {
    let dbfs = FLOOR_DBFS;
    if (this.source && this.analyser && this.track?.enabled && this.track.readyState === 'live') {
      if (this.context?.state === 'suspended') void this.context.resume();
      this.analyser.getFloatTimeDomainData(this.samples);
      let power = 0;
      for (const sample of this.samples) power += sample * sample;
      dbfs = Math.max(FLOOR_DBFS, 10 * Math.log10(power / this.samples.length + 1e-9));
    }
    this.place.style.setProperty('--level', (1 - dbfs / FLOOR_DBFS).toFixed(2));
    this.place.toggleAttribute('data-loud', dbfs > SPEECH_DBFS);
  }
}
