import assert from "node:assert/strict";
import { outsideMaintenance } from "../../../src/clusters/maintenance-window";

describe("The times outside of maintenance", () => {
  it("are what is left of the week between the windows", () => {
    assert.deepEqual(outsideMaintenance({ days: ["saturday", "sunday"], hour: 1, hours: 6 }), [
      { schedule: "0 7 * * 6", duration: "18h" },
      { schedule: "0 7 * * 0", duration: "138h" },
    ]);
    assert.deepEqual(outsideMaintenance({ days: ["wednesday"], hour: 20, hours: 12 }), [
      { schedule: "0 8 * * 4", duration: "156h" },
    ]);
  });

  it("go over the end of the week, and know windows that touch or overlap", () => {
    assert.deepEqual(outsideMaintenance({ days: ["sunday", "monday"], hour: 0, hours: 24 }), [
      { schedule: "0 0 * * 2", duration: "120h" },
    ]);
    assert.deepEqual(outsideMaintenance({ days: ["saturday", "sunday"], hour: 12, hours: 24 }), [
      { schedule: "0 12 * * 1", duration: "120h" },
    ]);
  });

  it("are none when every day is for maintenance as a whole", () => {
    const days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] as const;
    assert.deepEqual(outsideMaintenance({ days: [...days], hour: 5, hours: 24 }), []);
  });
});
