import { words } from './frame.js';
import { stayJoined } from './media.js';

stayJoined(false, words());
